/** The dashboard's entry: takes the key from the address first, then draws. */
import '@mantine/core/styles.css';
import '@mantine/notifications/styles.css';
import './page.css';
import { MantineProvider } from '@mantine/core';
import { Notifications } from '@mantine/notifications';
import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { createPages } from './router.tsx';
import { beginSession } from './session.ts';
import { cssVariablesResolver, theme } from './theme.ts';

beginSession();
const pages = createPages();
const root = document.getElementById('root');
if (!root) throw new Error('index.html has no #root');
createRoot(root).render(
  <StrictMode>
    <MantineProvider theme={theme} cssVariablesResolver={cssVariablesResolver} defaultColorScheme="auto">
      <Notifications position="bottom-left" />
      <RouterProvider router={pages} />
    </MantineProvider>
  </StrictMode>,
);
