import { afterEach, expect, test } from 'vitest';
import { type Asked, calling, openAmazon, type Told, vendorServer } from './amazon.testing.ts';

const ARN = 'arn:aws:sqs:us-east-2:111122223333:spapi-sim';
const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

const refused = (status: number, code: string): Told => ({ status, body: { errors: [{ code, message: code }] } });

/** An application with these destinations and the seller's subscription; what is made and removed is kept. */
async function notifications(start: { arn?: string; subscription?: Record<string, unknown> }) {
  const state = { ...start };
  const answer = ({ method, path, body }: Asked): Told => {
    if (path.endsWith('/destinations') && method === 'GET')
      return {
        body: { payload: state.arn ? [{ destinationId: 'dest-1', resource: { sqs: { arn: state.arn } } }] : [] },
      };
    if (path.endsWith('/destinations')) {
      state.arn = JSON.parse(body).resourceSpecification.sqs.arn;
      return { body: { payload: { destinationId: 'dest-1', resource: { sqs: { arn: state.arn } } } } };
    }
    if (method === 'GET')
      return state.subscription ? { body: { payload: state.subscription } } : refused(404, 'NotFound');
    if (method === 'DELETE') {
      delete state.subscription;
      return { body: {} };
    }
    state.subscription = { subscriptionId: 'sub-2', ...JSON.parse(body) };
    return { body: { payload: { subscriptionId: 'sub-2' } } };
  };
  const server = await vendorServer(answer);
  const { channel, close } = openAmazon(server.url, { queueUrl: `${server.url}/1/q`, queueArn: ARN });
  open.push({ close }, server);
  return { server, state, ensure: () => channel.subscriptions?.ensure(null, calling()) };
}

test('a new seller gets a destination and a subscription, the first as the application, the second as the seller', async () => {
  const { server, state, ensure } = await notifications({});
  expect(await ensure()).toEqual({ existing: [], created: ['ORDER_CHANGE'], removed: [] });
  expect(state).toEqual({
    arn: ARN,
    subscription: { subscriptionId: 'sub-2', payloadVersion: '1.0', destinationId: 'dest-1' },
  });
  expect(server.tokensAsked.map(({ body }) => new URLSearchParams(body).get('grant_type'))).toEqual([
    'client_credentials',
    'refresh_token',
  ]);
  const calls = server.asked.length;
  expect(await ensure()).toEqual({ existing: ['ORDER_CHANGE'], created: [], removed: [] });
  expect(server.asked.slice(calls).map(({ method }) => method)).toEqual(['GET', 'GET']);
});

test.each([
  [{ payloadVersion: '1.0', destinationId: 'dest-9' }, 'ORDER_CHANGE dest-9 (another destination)'],
  [{ payloadVersion: '0.9', destinationId: 'dest-1' }, 'ORDER_CHANGE dest-1 (payload version 0.9)'],
  [
    { payloadVersion: '1.0', destinationId: 'dest-1', processingDirective: { eventFilter: {} } },
    'ORDER_CHANGE dest-1 (filtered)',
  ],
])('a subscription %o is replaced by one that brings everything here', async (wrong, removed) => {
  const { state, ensure } = await notifications({ arn: ARN, subscription: { subscriptionId: 'sub-1', ...wrong } });
  expect(await ensure()).toEqual({ existing: [], created: ['ORDER_CHANGE'], removed: [removed] });
  expect(state.subscription).toEqual({ subscriptionId: 'sub-2', payloadVersion: '1.0', destinationId: 'dest-1' });
});

test('somebody who was quicker with the subscription did what we wanted', async () => {
  const server = await vendorServer(({ method, path }) =>
    path.endsWith('/destinations')
      ? { body: { payload: [{ destinationId: 'dest-1', resource: { sqs: { arn: ARN } } }] } }
      : method === 'GET'
        ? refused(404, 'NotFound')
        : refused(409, 'StateConflict'),
  );
  const { channel, close } = openAmazon(server.url, { queueUrl: `${server.url}/1/q`, queueArn: ARN });
  open.push({ close }, server);
  expect(await channel.subscriptions?.ensure(null, calling())).toMatchObject({ created: ['ORDER_CHANGE'] });
});
