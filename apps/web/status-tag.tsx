/** Tags: always icon and word in a role's colours, never a bare dot. */
import { type Icon, IconFlask } from '@tabler/icons-react';
import type { Status } from './status.ts';
import type { Role } from './theme.ts';

export function Tag({ icon: Glyph, tone, children }: { icon: Icon; tone: Role; children: string }) {
  return (
    <span className="tag" data-role={tone}>
      <Glyph size={14} aria-hidden />
      {children}
    </span>
  );
}

export function StatusTag({ status }: { status: Status }) {
  return (
    <Tag icon={status.icon} tone={status.role}>
      {status.word}
    </Tag>
  );
}

/** Stands on everything that is not the real world. */
export function SimulatedTag({ short = false }: { short?: boolean }) {
  return (
    <Tag icon={IconFlask} tone="simulated">
      {short ? 'SIM' : 'SIMULATED'}
    </Tag>
  );
}
