/**
 * The visual roles, once, for both colour schemes: pages name a role, never a colour.
 *
 * Mantine's defaults fall below WCAG AA for dimmed text, placeholders, links, field errors and tags. These values hold
 * at least 4.5:1 on page, raised surface, hover and selected row (lowest: placeholder 4.6), input borders and the focus
 * ring at least 3:1. Warn and bad hardly differ in brightness, so a tag is always icon and word as well.
 */
import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from '@mantine/core';

export type Role = 'ok' | 'info' | 'warn' | 'bad' | 'neutral' | 'simulated';

interface Tone {
  text: string;
  ground: string;
}

const light: Record<Role, Tone> = {
  ok: { text: '#0a6640', ground: '#e6f7ee' },
  info: { text: '#1864ab', ground: '#e7f5ff' },
  warn: { text: '#8a4600', ground: '#fff3d6' },
  bad: { text: '#b42020', ground: '#ffe9e9' },
  neutral: { text: '#495057', ground: '#f1f3f5' },
  simulated: { text: '#5f3dc4', ground: '#f0ebff' },
};
const dark: Record<Role, Tone> = {
  ok: { text: '#63e6be', ground: '#0f3327' },
  info: { text: '#74c0fc', ground: '#12304a' },
  warn: { text: '#ffc078', ground: '#43290b' },
  bad: { text: '#ffa8a8', ground: '#4a1c1c' },
  neutral: { text: '#ced4da', ground: '#3a3b3d' },
  simulated: { text: '#b197fc', ground: '#2c2147' },
};

/** Mantine's colour names whose -light and -text families carry a role. */
const families: Record<Role, readonly string[]> = {
  ok: ['green', 'teal'],
  info: ['blue'],
  warn: ['yellow', 'orange'],
  bad: ['red'],
  neutral: ['gray'],
  simulated: ['violet'],
};

function roleVariables(tones: Record<Role, Tone>): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [role, tone] of Object.entries(tones)) {
    variables[`--role-${role}`] = tone.text;
    variables[`--role-${role}-ground`] = tone.ground;
    for (const name of families[role as Role]) {
      variables[`--mantine-color-${name}-text`] = tone.text;
      variables[`--mantine-color-${name}-light`] = tone.ground;
      variables[`--mantine-color-${name}-light-hover`] = tone.ground;
      variables[`--mantine-color-${name}-light-color`] = tone.text;
      variables[`--mantine-color-${name}-outline`] = tone.text;
    }
  }
  return variables;
}

const filled = (primary: string, primaryHover: string) => ({
  '--mantine-color-blue-filled': primary,
  '--mantine-color-blue-filled-hover': primaryHover,
  '--mantine-primary-color-filled': primary,
  '--mantine-primary-color-filled-hover': primaryHover,
  '--mantine-color-red-filled': '#c92a2a',
  '--mantine-color-red-filled-hover': '#b02525',
});

export const cssVariablesResolver: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    ...roleVariables(light),
    ...filled('#1864ab', '#145591'),
    '--mantine-color-dimmed': '#5c636a',
    '--mantine-color-placeholder': '#656d76',
    '--mantine-color-error': '#b42020',
    '--mantine-color-anchor': '#1864ab',
    '--mantine-color-default-border': '#868e96',
    '--surface-raised': '#f8f9fa',
    '--surface-hover': '#f1f3f5',
    '--surface-selected': '#e7f5ff',
    '--hairline': '#dee2e6',
    '--focus-ring': '#1971c2',
    '--changed-cell': '#d0ebff',
  },
  dark: {
    ...roleVariables(dark),
    ...filled('#1971c2', '#1864ab'),
    '--mantine-color-text': '#e9ecef',
    '--mantine-color-dimmed': '#a6a7ab',
    '--mantine-color-placeholder': '#9a9ca1',
    '--mantine-color-error': '#ffa8a8',
    '--mantine-color-anchor': '#74c0fc',
    '--mantine-color-default-border': '#7a7c80',
    '--surface-raised': '#2e2e2e',
    '--surface-hover': '#333333',
    '--surface-selected': '#1b2f44',
    '--hairline': '#424242',
    '--focus-ring': '#74c0fc',
    '--changed-cell': '#1c3d5a',
  },
});

const primary: MantineColorsTuple = [
  '#e7f5ff',
  '#d0ebff',
  '#a5d8ff',
  '#74c0fc',
  '#4dabf7',
  '#339af0',
  '#228be6',
  '#1971c2',
  '#1864ab',
  '#145591',
];

export const theme = createTheme({
  primaryColor: 'blue',
  primaryShade: { light: 8, dark: 7 },
  colors: { blue: primary },
  autoContrast: false,
  defaultRadius: 'sm',
  radius: { xs: '2px', sm: '4px', md: '4px', lg: '4px', xl: '4px' },
  spacing: { xs: '4px', sm: '8px', md: '12px', lg: '16px', xl: '24px' },
  fontSizes: { xs: '12px', sm: '13px', md: '14px', lg: '16px', xl: '20px' },
  lineHeights: { xs: '1.34', sm: '1.39', md: '1.43', lg: '1.5', xl: '1.4' },
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
  headings: { fontWeight: '600' },
  cursorType: 'pointer',
  respectReducedMotion: true,
});
