import type { JSX } from 'solid-js';

/** The operator's dashboard. */
export default function AdminPage(): JSX.Element {
  return <h1>Dashboard</h1>;
}
