/**
 * What a Shopify connection is made of: its settings and credentials, checked when it is opened.
 * Three ways to be authorised: a pasted static token, the client credentials of an app of the merchant's own
 * organisation (24 h tokens), or an installed public app (1 h tokens with a rotating refresh token).
 */
import { z } from 'zod';
import { ConnectorError } from '#core/errors.ts';
import type { ConnectionContext } from '../kit/ports.ts';

/** The shop host pattern of Shopify's SDK (`documented`, fact sheet §1), without a path. */
const SHOP_HOST = /^[a-zA-Z0-9][a-zA-Z0-9-_]*\.(myshopify\.com|shopify\.com|myshopify\.io|shop\.dev)$/;

const settingsSchema = z.looseObject({ shopDomain: z.string().regex(SHOP_HOST) });

const credentialsSchema = z
  .looseObject({
    accessToken: z.string().min(1).optional(),
    /** When `accessToken` ends, Unix ms in digits. */
    accessTokenExpiresAt: z.string().regex(/^\d+$/).optional(),
    refreshToken: z.string().min(1).optional(),
    clientId: z.string().min(1).optional(),
    clientSecret: z.string().min(1).optional(),
  })
  .refine(
    (given) => given.accessToken || (given.clientId && given.clientSecret),
    'an access token, or client id and secret',
  );

export interface ShopSettings {
  /** Without a slash at the end. */
  origin: string;
  shopDomain: string;
  credentials: z.infer<typeof credentialsSchema>;
}

/** Throws connector.rejected naming the fields that are wrong, never their values. */
export function readSettings(context: ConnectionContext): ShopSettings {
  const settings = settingsSchema.safeParse(context.settings);
  const credentials = credentialsSchema.safeParse(context.credentials);
  if (!settings.success || !credentials.success) {
    const issues = [...(settings.error?.issues ?? []), ...(credentials.error?.issues ?? [])];
    const fields = issues.map((issue) => issue.path.join('.') || issue.message);
    throw new ConnectorError('connector.rejected', `The Shopify connection is not set up: ${fields.join(', ')}.`, {
      fields,
    });
  }
  const { shopDomain } = settings.data;
  const origin = (context.baseUrl ?? `https://${shopDomain}`).replace(/\/+$/, '');
  return { origin, shopDomain, credentials: credentials.data };
}
