/**
 * What one Amazon connection is: which seller, where, with which keys. Parsed once when a channel is opened, so that a
 * missing or misspelt setting is one clear refusal and not a 403 from Amazon an hour later.
 *
 * One connection is one seller in one region: a refresh token is good for no more (documented, §1).
 */
import { z } from 'zod';
import { ConnectorError } from '#core/errors.ts';
import { tuningSchema } from '../kit/tuning.ts';

const settingsSchema = z.object({
  sellerId: z.string().min(1),
  region: z.enum(['na', 'eu', 'fe']),
  /** The first is where a listing is written that is known in none or several. */
  marketplaceIds: z.array(z.string().min(1)).min(1),
  /** The seller's own SQS queue. Without it the connection is poll-only. */
  queueUrl: z.url().optional(),
  /** Where Amazon is told to send; default: as the queue's address at amazonaws.com says. */
  queueArn: z
    .string()
    .regex(/^arn:[^:]+:sqs:/)
    .optional(),
  /** Default: the origin of `queueUrl`. */
  queueEndpoint: z.url().optional(),
  /** Default: read from an amazonaws.com host, else us-east-1. */
  queueRegion: z.string().min(1).optional(),
  /** Default: the connection's base URL, or api.amazon.com, with /auth/o2/token. */
  tokenUrl: z.url().optional(),
  ...tuningSchema,
});

const credentialsSchema = z.object({
  clientId: z.string().min(1),
  clientSecret: z.string().min(1),
  refreshToken: z.string().min(1),
  awsAccessKeyId: z.string().min(1).optional(),
  awsSecretAccessKey: z.string().min(1).optional(),
  awsSessionToken: z.string().min(1).optional(),
});

export type AmazonSettings = z.infer<typeof settingsSchema>;
export type AmazonCredentials = z.infer<typeof credentialsSchema>;

/** @throws connector.rejected naming the fields, never their values. */
export function parseSettings(settings: Record<string, unknown>): AmazonSettings {
  return parsed(settingsSchema, settings, 'settings');
}

/** @throws connector.rejected naming the fields, never their values. */
export function parseCredentials(credentials: Record<string, string>): AmazonCredentials {
  return parsed(credentialsSchema, credentials, 'credentials');
}

function parsed<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const fields = result.error.issues.map((issue) => issue.path.join('.'));
  throw new ConnectorError('connector.rejected', `Amazon ${what} are not usable: ${fields.join(', ')}`, {
    what,
    fields,
  });
}
