import { useParams } from '@solidjs/router';
import type { JSX } from 'solid-js';

/** The page from which a streamer goes live. */
export default function StudioPage(): JSX.Element {
  const params = useParams<{ room: string }>();
  return <h1>Studio: {params.room}</h1>;
}
