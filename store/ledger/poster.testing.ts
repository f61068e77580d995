/** A process that receives one unit under each key it is told, one transaction each, and reports what became of them. */
import { LocationId, OrgId, VariantId } from '#core/ids.ts';
import { command, run, testStore } from './ledger.testing.ts';

const [appUrl, org, variant, location, ...keys] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  ...string[],
];
const store = testStore(appUrl, 1);
const kinds: string[] = [];
for (const key of keys) {
  const receipt = command({
    kind: 'receive' as const,
    variantId: VariantId(variant),
    locationId: LocationId(location),
    units: 1,
    key,
  });
  const [answer] = await run(store, { orgId: OrgId(org) }, [receipt]);
  kinds.push(answer?.kind ?? 'none');
}
await store.end();
process.send?.(kinds);
process.disconnect?.();
