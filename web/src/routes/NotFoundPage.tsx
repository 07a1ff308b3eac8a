import type { JSX } from 'solid-js';

/** Shown for an address that is no page of the app. */
export default function NotFoundPage(): JSX.Element {
  return (
    <div class="shell-note">
      <h1>No such page</h1>
      <p>
        Nothing is kept at this address. The <a href="/">list of rooms</a> shows what is live.
      </p>
    </div>
  );
}
