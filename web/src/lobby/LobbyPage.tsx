import type { JSX } from 'solid-js';

/** The list of rooms that are live. */
export default function LobbyPage(): JSX.Element {
  return <h1>Rooms</h1>;
}
