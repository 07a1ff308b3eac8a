import { useParams } from '@solidjs/router';
import type { JSX } from 'solid-js';

/** The page on which a viewer watches a room. */
export default function PlayerPage(): JSX.Element {
  const params = useParams<{ room: string }>();
  return <h1>{params.room}</h1>;
}
