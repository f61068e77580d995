/**
 * A wire that can be cut: a TCP relay in front of a test database, for faults that only a network has (a COMMIT whose answer
 * is lost, a server that does not answer yet).
 */
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:net';

export interface Wire {
  /** The database URL through this wire. */
  url: string;
  /** Called with every piece the client sends, before it is passed on; 'cut' passes it on and then loses all answers. */
  onRequest: (piece: Buffer) => 'pass' | 'cut';
  /** Called with every piece the server sends; the piece is passed on when the promise settles. */
  onAnswer: (piece: Buffer) => Promise<void> | void;
  close(): void;
}

function upstream(url: URL): Socket {
  const folder = url.searchParams.get('host');
  const port = Number(url.port || 5432);
  return folder === null ? connect(port, url.hostname) : connect(`${folder}/.s.PGSQL.${port}`);
}

export async function openWire(databaseUrl: string): Promise<Wire> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  const wire: Wire = { url: '', onRequest: () => 'pass', onAnswer: () => undefined, close: () => undefined };
  const server = createServer((client) => {
    const database = upstream(target);
    for (const socket of [client, database]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
    }
    let cut = false;
    let answers = Promise.resolve();
    client.on('data', (piece) => {
      const verdict = wire.onRequest(piece);
      database.write(piece);
      if (verdict === 'cut') cut = true;
    });
    database.on('data', (piece) => {
      // The answer proves that the server has done it; now the client must not learn of it.
      if (cut) return void client.destroy();
      answers = answers.then(() => wire.onAnswer(piece)).then(() => void client.write(piece));
    });
    client.on('close', () => database.end());
    database.on('close', () => answers.then(() => client.end()));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const url = new URL(databaseUrl);
  url.searchParams.delete('host');
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  wire.url = url.toString();
  wire.close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return wire;
}
