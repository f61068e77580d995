/**
 * connection renew: new credentials for an account that is linked already, after its token died or its secret was changed.
 *
 *   the channel is asked → it lets us in: stored (sealed)   ·   it does not: nothing changes
 *
 * Only what is given changes. A running server takes the new credentials within a second or two (its publisher looks), finds
 * by itself that the channel works again, and sends what waited.
 */
import type { Command } from 'commander';
import { type Credentials, replaceCredentials } from '#server/credentials.ts';
import type { Deps } from '#server/deps.ts';
import type { ConnectionRef } from '#server/flows/publisher-types.ts';
import { fingerprint } from '#server/secrets.ts';
import { audit } from '#store/access/audit.ts';
import { type Connection, getConnection, updateConnection } from '#store/connections/connections.ts';
import { type Cli, describe, examples } from './cli.ts';
import { present, secretOf, secretOption, textOf } from './connection-add.ts';
import { findConnection } from './connection-lookup.ts';
import { CommandError, usage } from './output.ts';
import type { Session } from './session.ts';

interface RenewOptions {
  keepOldSecret?: boolean;
  test: boolean;
  [more: string]: unknown;
}

export function renewCommand(cli: Cli, connection: Command): void {
  const renew = connection.command('renew').argument('<connection>');
  secretOption(renew, 'access-token', 'Shopify: a static token of a custom app');
  renew.option('--client-id <id>', 'of the app');
  secretOption(renew, 'client-secret', 'of the app; at Shopify it signs the webhooks too');
  secretOption(renew, 'refresh-token', "the merchant's or seller's grant");
  secretOption(renew, 'webhook-secret', 'what webhooks are signed with, when it is not the client secret');
  renew.option('--aws-access-key-id <id>', 'Amazon: may read the queue');
  secretOption(renew, 'aws-secret-access-key', 'Amazon: belongs to the access key id');
  renew
    .option(
      '--keep-old-secret',
      'go on accepting webhooks signed with the secret before, while the channel changes over',
    )
    .option('--no-test', 'do not ask the channel whether it lets us in')
    .description('new credentials; what is not given stays. When the channel refuses them, the old ones stay')
    .addHelpText(
      'after',
      `${examples(
        'connection renew "My shop" --access-token-file token.txt',
        'connection renew "Amazon US" --client-secret-file secret.txt --refresh-token-file refresh.txt',
      )}\n\nA secret may be given as a value (others on this machine can see it), as "-" (read from stdin), or as a file with --…-file.`,
    );
  cli.withSession<RenewOptions>(renew, async (session, { args, options, output }) => {
    const found = await findConnection(session, args[0] ?? '');
    const given = givenIn(options);
    if (Object.keys(given.credentials).length === 0 && given.webhookSecret === undefined)
      throw usage('Nothing was given: name what is new, e.g. --access-token-file token.txt.');
    await renewCredentials(session, found, given, options);
    output.result({ id: found.id, name: found.name, renewed: true, tested: options.test }, (print) =>
      print(
        options.test
          ? `${found.name} lets us in with them. A running server sends what waited within seconds.`
          : `Stored for ${found.name}. Ask the channel: syncstate connection test "${found.name}"`,
      ),
    );
  });
}

interface Given {
  credentials: Record<string, string>;
  webhookSecret: string | undefined;
}

function givenIn(options: RenewOptions): Given {
  const clientSecret = secretOf(options, 'client-secret');
  return {
    credentials: present({
      accessToken: secretOf(options, 'access-token'),
      clientId: textOf(options, 'clientId'),
      clientSecret,
      refreshToken: secretOf(options, 'refresh-token'),
      awsAccessKeyId: textOf(options, 'awsAccessKeyId'),
      awsSecretAccessKey: secretOf(options, 'aws-secret-access-key'),
    }),
    webhookSecret: secretOf(options, 'webhook-secret') ?? clientSecret,
  };
}

async function renewCredentials(
  session: Session,
  { id, name }: { id: string; name: string },
  given: Given,
  options: RenewOptions,
): Promise<void> {
  const { id: orgId } = session.organization();
  const deps = await session.deps();
  const ref = { orgId, connectionId: id };
  await replaceCredentials(
    deps,
    ref,
    (stored) => {
      const merged = merge(stored, given.credentials);
      return options.test ? tryThem(deps, ref, name, merged) : Promise.resolve(merged);
    },
    async (tx) => {
      const now = await getConnection(tx, orgId, id);
      if (now?.platform === 'shopify' && given.webhookSecret !== undefined) {
        const kept = options.keepOldSecret === true ? now : null;
        await updateConnection(tx, orgId, id, webhookSecrets(deps, ref, given.webhookSecret, kept));
      }
      await audit(tx, orgId, { id: session.ids.uuid(), actor: 'cli', action: 'connection.renew', subject: id });
    },
  );
}

/**
 * An access token belongs to the grant and the app it came of: with another of these it is asked for anew. That proves them, while
 * the old one may go on working until it ends.
 */
function merge({ accessToken, accessTokenExpiresAt, ...held }: Credentials, given: Credentials): Credentials {
  const refreshed = given.refreshToken ?? held.refreshToken;
  const replaced = [given.refreshToken, given.clientId, given.clientSecret].some((one) => one !== undefined);
  const stays = given.accessToken === undefined && !(replaced && refreshed !== undefined);
  return { ...held, ...(stays && present({ accessToken, accessTokenExpiresAt })), ...given };
}

function webhookSecrets({ vault }: Deps, ref: ConnectionRef, secret: string, kept: Connection | null) {
  const owner = { ...ref, column: 'webhook_secrets' as const };
  const old = kept?.webhookSecrets ? (JSON.parse(vault.open(kept.webhookSecrets, owner).reveal()) as string[]) : [];
  const secrets = [...new Set([secret, ...old])].slice(0, 2);
  return {
    webhookSecrets: vault.seal(JSON.stringify(secrets), owner),
    webhookFingerprints: secrets.map(fingerprint),
  };
}

async function tryThem(deps: Deps, ref: ConnectionRef, name: string, credentials: Credentials): Promise<Credentials> {
  try {
    return await deps.tryCredentials(ref, credentials);
  } catch (error) {
    const { code, text } = describe(error);
    throw new CommandError(code, `${name} does not let us in with them; the old ones stay: ${text}`);
  }
}
