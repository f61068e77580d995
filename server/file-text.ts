/**
 * The bytes of a text file → its text in pieces, in bounded memory: the file is gone through once to see what it is (encoding,
 * beginning, how many signs that part cells), and again, piece by piece, to be read. Other work of the process goes on between.
 */
import { setImmediate as otherWork } from 'node:timers/promises';
import { EncodingGuess } from '#core/catalog/formats/text.ts';

/** The bytes of a file from its start; asked for more than once. */
export type FileBytes = () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

export interface FileLook {
  /** Its first bytes, in latin letters. */
  magic: string;
  encoding: string;
  /** Its first characters. */
  head: string;
  /** How many of these signs stand in it. */
  count(signs: string): number;
}

const headLength = 16_384;
const chunkLength = 262_144;
const zip = 'PK\u0003\u0004';

async function* chunksOf(bytes: FileBytes): AsyncGenerator<Uint8Array> {
  for await (const part of bytes())
    for (let at = 0; at < part.length; at += chunkLength) {
      yield part.subarray(at, at + chunkLength);
      await otherWork();
    }
}

/** Goes through all of it; of a workbook, through its beginning. */
export async function lookAt(bytes: FileBytes): Promise<FileLook> {
  const counts = new Uint32Array(256);
  const guess = new EncodingGuess();
  let start = Buffer.alloc(0);
  for await (const chunk of chunksOf(bytes)) {
    if (start.length < 4 * headLength) start = Buffer.concat([start, chunk]).subarray(0, 4 * headLength);
    if (start.toString('latin1', 0, 4) === zip) break;
    guess.take(chunk);
    for (const byte of chunk) counts[byte] = (counts[byte] ?? 0) + 1;
  }
  return {
    magic: start.toString('latin1', 0, 4),
    encoding: guess.encoding,
    head: new TextDecoder(guess.encoding).decode(start, { stream: true }).slice(0, headLength),
    count: (signs) => [...signs].reduce((sum, sign) => sum + (counts[sign.charCodeAt(0)] ?? 0), 0),
  };
}

/** Without its byte-order mark. */
export async function* textOf(bytes: FileBytes, encoding: string): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding);
  for await (const chunk of chunksOf(bytes)) yield decoder.decode(chunk, { stream: true });
  yield decoder.decode();
}

/** A text that is in memory anyway. */
export async function* textInMemory(text: string): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += chunkLength) {
    yield text.slice(at, at + chunkLength).replace(at === 0 ? /^\uFEFF/ : '', '');
    await otherWork();
  }
}

/** All of it; for what cannot be read in parts. */
export async function contentOf(bytes: FileBytes): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of bytes()) parts.push(part);
  return Buffer.concat(parts);
}
