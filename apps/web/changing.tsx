/** A number that tints its cell for a second when it becomes another one; not when it first appears. */
import { type ReactNode, useState } from 'react';

export function Changing({ value, children }: { value: string | number; children?: ReactNode }) {
  const [seen, setSeen] = useState({ value, changes: 0 });
  if (seen.value !== value) setSeen({ value, changes: seen.changes + 1 });
  return (
    <span key={seen.changes} className={seen.changes > 0 ? 'changing changed' : 'changing'}>
      {children ?? value}
    </span>
  );
}
