/**
 * Files of failed rows, for people to fetch: in parts, so that one of any length is written and sent in little memory. Whoever
 * names a file to others has written all its parts before.
 */
import type { Tx } from '../tx.ts';

/** Its first part; in place of one of the same id that was begun before. */
export async function keepImportFile(
  tx: Tx,
  orgId: string,
  file: { id: string; name: string; content: Uint8Array },
): Promise<void> {
  await tx.query('delete from import_files where org_id = $1 and id = $2', [orgId, file.id]);
  await tx.query('insert into import_files (org_id, id, name, content) values ($1, $2, $3, $4)', [
    orgId,
    file.id,
    file.name,
    file.content,
  ]);
}

/** @param part from 1 */
export async function keepImportFilePart(
  tx: Tx,
  orgId: string,
  id: string,
  part: number,
  content: Uint8Array,
): Promise<void> {
  await tx.query(
    'insert into import_file_parts (org_id, file_id, part, content) values ($1, $2, $3, $4) on conflict do nothing',
    [orgId, id, part, content],
  );
}

/** Its name, and a part of it. @returns null: there is no such part */
export async function readImportFile(
  tx: Tx,
  orgId: string,
  id: string,
  part = 0,
): Promise<{ name: string; content: Buffer } | null> {
  const { rows } = await tx.query<{ name: string; content: Buffer }>(
    part === 0
      ? 'select name, content, $3::int from import_files where org_id = $1 and id = $2'
      : `select f.name, p.content from import_files f join import_file_parts p on p.org_id = f.org_id and p.file_id = f.id
         where f.org_id = $1 and f.id = $2 and p.part = $3`,
    [orgId, id, part],
  );
  return rows[0] ?? null;
}
