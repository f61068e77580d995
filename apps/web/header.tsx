/** The bar on top: product, SIMULATED while anything is, whether the page is live, colour scheme, leave. */
import { ActionIcon, Group, Tooltip, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import {
  IconArrowsExchange,
  IconLogout,
  IconMoon,
  IconPlayerPause,
  IconPlugConnected,
  IconReload,
  IconSun,
} from '@tabler/icons-react';
import { useLiveState } from './app-context.ts';
import type { LiveState } from './live.ts';
import { session } from './session.ts';
import { SimulatedTag, Tag } from './status-tag.tsx';

const chips: Record<
  LiveState,
  { word: string; icon: typeof IconReload; role: 'ok' | 'warn' | 'neutral'; hint: string }
> = {
  live: { word: 'Live', icon: IconPlugConnected, role: 'ok', hint: 'Changes appear as they happen' },
  connecting: { word: 'Connecting', icon: IconReload, role: 'neutral', hint: 'Opening the stream of changes' },
  reconnecting: {
    word: 'Reconnecting',
    icon: IconReload,
    role: 'warn',
    hint: 'The numbers are the last we read; what was missed is read on return',
  },
  paused: { word: 'Paused', icon: IconPlayerPause, role: 'neutral', hint: 'Not followed while the page is hidden' },
};

export function Brand() {
  return (
    <Group gap="sm" wrap="nowrap" className="brand">
      <IconArrowsExchange size={22} aria-hidden />
      <span>SyncState</span>
    </Group>
  );
}

export function ColorSchemeSwitch() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme('light', { getInitialValueInEffect: false }) === 'dark';
  const label = dark ? 'Use light colours' : 'Use dark colours';
  return (
    <Tooltip label={label}>
      <ActionIcon
        variant="subtle"
        color="gray"
        size="lg"
        aria-label={label}
        onClick={() => setColorScheme(dark ? 'light' : 'dark')}
      >
        {dark ? <IconSun size={18} aria-hidden /> : <IconMoon size={18} aria-hidden />}
      </ActionIcon>
    </Tooltip>
  );
}

function LiveChip() {
  const chip = chips[useLiveState()];
  return (
    <Tooltip label={chip.hint}>
      <span>
        <Tag icon={chip.icon} tone={chip.role}>
          {chip.word}
        </Tag>
      </span>
    </Tooltip>
  );
}

export function HeaderBar({ simulated, phone }: { simulated: boolean; phone: boolean }) {
  return (
    <Group h="100%" px="lg" justify="space-between" wrap="nowrap" gap="sm" className="app-bar">
      <Group gap="md" wrap="nowrap">
        <Brand />
        {simulated ? <SimulatedTag short={phone} /> : null}
      </Group>
      <Group gap="xs" wrap="nowrap">
        <LiveChip />
        <ColorSchemeSwitch />
        <Tooltip label="Forget the key on this tab">
          <ActionIcon variant="subtle" color="gray" size="lg" aria-label="Sign out" onClick={session.leave}>
            <IconLogout size={18} aria-hidden />
          </ActionIcon>
        </Tooltip>
      </Group>
    </Group>
  );
}
