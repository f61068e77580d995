/** Shown without a key, or after the server refused it: how to get one, and a field to enter it. */
import { Button, Code, Container, Group, PasswordInput, Stack, Text, Title } from '@mantine/core';
import { useState } from 'react';
import { Brand, ColorSchemeSwitch } from './header.tsx';
import { session } from './session.ts';

export function KeyPage({ refused }: { refused: boolean }) {
  const [key, setKey] = useState('');
  const [missing, setMissing] = useState(false);
  const submit = () => {
    const trimmed = key.trim();
    setMissing(trimmed === '');
    if (trimmed !== '') session.use(trimmed);
  };
  return (
    <Container component="main" size={520} py="xl" id="main">
      <Group justify="space-between" mb="xl">
        <Brand />
        <ColorSchemeSwitch />
      </Group>
      <Stack gap="lg">
        <Title order={1} size="20px">
          Open SyncState with your key
        </Title>
        <Text>
          Start SyncState with <Code>npm start</Code> and open the link it prints: the key is in it. Or make one with{' '}
          <Code>npm run syncstate -- key create</Code> and enter it here. It stays in this tab only.
        </Text>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            submit();
          }}
        >
          <Stack gap="md">
            <PasswordInput
              label="API key"
              name="key"
              autoComplete="off"
              value={key}
              onChange={(event) => setKey(event.currentTarget.value)}
              error={
                missing
                  ? 'Enter the key first.'
                  : refused && key === ''
                    ? 'The server does not know this key, or it has ended. Stock is not affected. Open the link of the latest start, or enter another key.'
                    : null
              }
              visibilityToggleButtonProps={{ 'aria-label': 'Show the key' }}
            />
            <Group>
              <Button type="submit">Open</Button>
            </Group>
          </Stack>
        </form>
      </Stack>
    </Container>
  );
}
