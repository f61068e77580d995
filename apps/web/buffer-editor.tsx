/**
 * Units kept back of a SKU, edited in place. Nothing is optimistic: the old number stays until the server answers, then
 * the popover says how many channels already show the new one.
 */
import { Button, Group, NumberInput, Popover, Stack, Text, UnstyledButton } from '@mantine/core';
import { IconPencil } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { type ComponentProps, useEffect, useRef, useState } from 'react';
import type { InventoryItem } from '../client/types.ts';
import { useApp } from './app-context.ts';
import { Changing } from './changing.tsx';
import { listingMarks, savedText } from './channel-cell.ts';
import { ProblemNotice } from './problem-notice.tsx';

export function BufferEditor({ item }: { item: InventoryItem }) {
  const [used, setUsed] = useState(false);
  return used ? <BufferPopover item={item} /> : <BufferButton item={item} onClick={() => setUsed(true)} />;
}

function BufferButton({ item, ...others }: { item: InventoryItem } & ComponentProps<'button'>) {
  return (
    <UnstyledButton
      className="number-button"
      aria-label={`Buffer of ${item.sku}: ${item.buffer}. Change`}
      aria-haspopup="dialog"
      {...others}
    >
      <Changing value={item.buffer} />
      <IconPencil size={14} className="pencil" aria-hidden />
    </UnstyledButton>
  );
}

/** Comes with the first press, focused and then open, so that closing gives the focus back to the number. */
function BufferPopover({ item }: { item: InventoryItem }) {
  const [opened, setOpened] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    button.current?.focus();
    setOpened(true);
  }, []);
  return (
    <Popover opened={opened} onChange={setOpened} position="bottom-end" withArrow trapFocus returnFocus width={260}>
      <Popover.Target>
        <BufferButton item={item} ref={button} onClick={() => setOpened((was) => !was)} />
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
  const [saved, setSaved] = useState<{ buffer: number; before: ReadonlyMap<string, string> } | null>(null);
  const save = useMutation({
    mutationFn: (buffer: number) => api.setBuffer(item.sku, buffer),
    onMutate: () => listingMarks(item),
    onSuccess: (answer, _, before) => {
      setSaved({ buffer: answer.buffer, before });
      live.touch(item.sku);
    },
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
          {saved && save.isSuccess ? savedText(item, saved.buffer, saved.before) : ''}
        </Text>
        {save.isError ? <ProblemNotice error={save.error} what={`set the buffer of ${item.sku}`} changes /> : null}
      </Stack>
    </form>
  );
}
