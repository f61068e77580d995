/**
 * The vendors' mail: a delivery reaches some living process, at some moment; it is refused when none takes it in time, or dies over it.
 * A garbled one is signed as it arrives: its sender made it so.
 */
import { createHmac } from 'node:crypto';
import type { Message, PostMessage } from '#sim/kit/sender.ts';
import type { Crew } from './crew.ts';
import type { Owner, Scheduler } from './scheduler.ts';
import { type ChannelOfWorld, secretOf } from './stage.ts';
import type { Tally } from './tally.ts';

export interface MailOptions {
  scheduler: Scheduler;
  crew: Pick<Crew, 'living' | 'onDeath'>;
  channels(): readonly ChannelOfWorld[];
  tally: Tally;
}

export function delivery({ scheduler, crew, channels, tally }: MailOptions): PostMessage {
  const mail: Owner = { name: 'mail', alive: true };
  const clock = scheduler.clock(mail);

  function asItArrives(message: Message): Message {
    const channel = channels().find(({ webhookUrl }) => webhookUrl === message.uri);
    if (!channel || channel.garbled === 0) return message;
    const garbled = garble(message, secretOf(channel.place));
    if (garbled === null) return message;
    channel.garbled -= 1;
    tally.count('garbled messages');
    return garbled;
  }

  return async (sent, policy, closing) => {
    const message = asItArrives(sent);
    const over = new AbortController();
    const late = clock.sleep(policy.timeoutMs, AbortSignal.any([over.signal, closing])).then(() => false);
    const taken = scheduler
      .step(mail, 'delivery', `${message.topic} of ${message.subscription.slice(-6)}`, () => ({
        answer: new Promise<boolean>((resolve) => {
          const process = scheduler.oneOf(crew.living());
          if (!process) return resolve(false);
          crew.onDeath(process, () => resolve(false));
          process.webhook(message).then(resolve, () => resolve(false));
        }),
      }))
      .then(({ answer }) => answer);
    const accepted = await Promise.race([taken, late]);
    over.abort();
    return accepted;
  };
}

/** Its time is no time any more. Null: it tells none. */
function garble(message: Message, secret: string): Message | null {
  const body = message.body.replace(/"updated_at":"[^"]*"/, '"updated_at":{"garbled":true}');
  if (body === message.body) return null;
  const signature = createHmac('sha256', secret).update(body, 'utf8').digest('base64');
  return { ...message, body, headers: { ...message.headers, 'X-Shopify-Hmac-Sha256': signature } };
}
