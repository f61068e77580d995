/**
 * A call that passed the gate, as handlers see it: decoded path parameters, checked query values, parsed body.
 * List parameters are comma-joined (vendors/amazon.md §2.3, documented), repeated ones are taken together.
 */
import { invalidInput } from './answers.ts';

export interface ApiRequest {
  parameters: Record<string, string>;
  query: URLSearchParams;
  baseUrl: string;
  /** @throws ApiError 400 when it is not JSON */
  json(): unknown;
}

/** @returns the decoded path parameter of that name */
export function parameter(request: ApiRequest, name: string): string {
  const value = request.parameters[name];
  if (value === undefined) throw new Error(`The path has no {${name}}`);
  return value;
}

/** @returns the values of a list parameter; null when it is absent */
export function list(query: URLSearchParams, name: string): string[] | null {
  if (!query.has(name)) return null;
  return query
    .getAll(name)
    .flatMap((value) => value.split(','))
    .filter((value) => value !== '');
}

export function listOf<Word extends string>(
  query: URLSearchParams,
  name: string,
  allowed: readonly Word[],
): Word[] | null {
  const values = list(query, name);
  for (const value of values ?? []) if (!allowed.includes(value as Word)) throw invalidInput(`${name}: ${value}`);
  return values as Word[] | null;
}

/** @returns Unix ms; null when absent */
export function time(query: URLSearchParams, name: string): number | null {
  const value = query.get(name);
  if (value === null) return null;
  const ms = /^\d{4}-\d{2}-\d{2}(T.*)?$/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(ms)) throw invalidInput(`${name}: ${value}`);
  return ms;
}

export function whole(query: URLSearchParams, name: string, missing: number, most: number): number {
  const value = query.get(name);
  if (value === null) return missing;
  if (!/^\d+$/.test(value) || Number(value) < 1 || Number(value) > most) throw invalidInput(`${name}: ${value}`);
  return Number(value);
}

/** A page token: opaque to callers, ours to read. */
export const makeToken = (content: unknown): string => Buffer.from(JSON.stringify(content)).toString('base64url');

/** @returns null when it is not one of ours */
export function readToken<Content>(token: string): Content | null {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as Content;
  } catch {
    return null;
  }
}
