/**
 * Units kept back of a SKU, edited in place. Nothing is optimistic: the old number stays until the server answers, then
 * the popover says how many channels already show the new one.
 */
import { Button, Group, NumberInput, Popover, Stack, Text, UnstyledButton } from '@mantine/core';
import { IconPencil } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import type { InventoryItem } from '../client/types.ts';
import { useApp } from './app-context.ts';
import { Changing } from './changing.tsx';
import { channelCell } from './channel-cell.ts';
import { ProblemNotice } from './problem-notice.tsx';

/** "Saved. Seen on 2 of 3 channels." */
export function savedText(item: InventoryItem): string {
  const cells = [...new Set(item.listings.map(({ connectionId }) => connectionId))]
    .map((id) => channelCell(item, id))
    .filter((cell) => cell !== null);
  if (cells.length === 0) return 'Saved. No channel offers this SKU.';
  return `Saved. Seen on ${cells.filter((cell) => cell.quiet).length} of ${cells.length} channels.`;
}

export function BufferEditor({ item }: { item: InventoryItem }) {
  const [opened, setOpened] = useState(false);
  return (
    <Popover opened={opened} onChange={setOpened} position="bottom-end" withArrow trapFocus returnFocus width={260}>
      <Popover.Target>
        <UnstyledButton
          className="number-button"
          aria-label={`Buffer of ${item.sku}: ${item.buffer}. Change`}
          onClick={() => setOpened((was) => !was)}
        >
          <Changing value={item.buffer} />
          <IconPencil size={14} className="pencil" aria-hidden />
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown aria-label={`Buffer of ${item.sku}`}>
        {opened ? <BufferForm item={item} /> : null}
      </Popover.Dropdown>
    </Popover>
  );
}

function BufferForm({ item }: { item: InventoryItem }) {
  const { api, live } = useApp();
  const [value, setValue] = useState<number | string>(item.buffer);
  const [error, setError] = useState<string | null>(null);
  const save = useMutation({
    mutationFn: (buffer: number) => api.setBuffer(item.sku, buffer),
    onSuccess: () => live.touch(item.sku),
  });
  const submit = () => {
    const wanted = typeof value === 'number' ? value : Number.NaN;
    const wrong = !Number.isInteger(wanted) || wanted < 0 || wanted > 1_000_000;
    setError(wrong ? 'Enter a whole number from 0 to 1,000,000.' : null);
    if (!wrong) save.mutate(wanted);
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <Stack gap="sm">
        <NumberInput
          label={`Kept back of ${item.sku}`}
          description="Channels show what is available less this"
          size="sm"
          min={0}
          allowDecimal={false}
          allowNegative={false}
          value={value}
          onChange={setValue}
          error={error}
          data-autofocus
        />
        <Group gap="sm" justify="space-between">
          <Button type="submit" size="xs" loading={save.isPending}>
            Save
          </Button>
        </Group>
        <Text size="xs" role="status">
          {save.isSuccess ? savedText(item) : ''}
        </Text>
        {save.isError ? <ProblemNotice error={save.error} what={`set the buffer of ${item.sku}`} changes /> : null}
      </Stack>
    </form>
  );
}
