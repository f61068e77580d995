/**
 * Loaded before everything else (`node --import …/mutant-hook.ts … --mutant NAME`): the mutant's files are changed as they
 * are loaded. Files of the database are left to mutant-run.ts.
 */
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { mutantNamed, mutated } from './mutants.ts';

const name = process.argv[process.argv.indexOf('--mutant') + 1] ?? '';
const root = new URL('../../', import.meta.url);
const edits = mutantNamed(name).edits.filter((edit) => edit.function === undefined);
const byPath = Map.groupBy(edits, ({ file }) => fileURLToPath(new URL(file, root)));

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const own = url.startsWith('file:') ? byPath.get(fileURLToPath(url)) : undefined;
    if (!own || loaded.source === undefined || loaded.source === null) return loaded;
    const source =
      typeof loaded.source === 'string' ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString('utf8');
    return { ...loaded, source: mutated(source, own) };
  },
});
