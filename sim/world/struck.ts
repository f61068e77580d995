/** Which of a simulated vendor's faults struck, for the summary: set is not struck. */
import type { Simulator } from '#sim/kit/simulator.ts';
import type { Tally } from './tally.ts';

export function countFaults({ name, core: { faults } }: Simulator, tally: Tally): void {
  const { takeForCall, planMessage } = faults;
  faults.takeForCall = (kinds, operations) => {
    const fault = takeForCall(kinds, operations);
    // Half a batch is a call of a shop's, or a document of Amazon's.
    const more = fault?.kind === 'half_batch' ? ` at ${name}` : fault?.status ? ` ${fault.status}` : '';
    if (fault) tally.count(`struck: ${fault.kind}${more}`);
    return fault;
  };
  faults.planMessage = (topic) => {
    const plan = planMessage(topic);
    if (plan.copies === 0) tally.count('struck: drop');
    if (plan.copies === 2) tally.count('struck: duplicate');
    if (plan.delayMs > 0) tally.count('struck: delay');
    if (plan.reorder) tally.count('struck: reorder');
    return plan;
  };
}
