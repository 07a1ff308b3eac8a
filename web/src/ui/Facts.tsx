import { For, type JSX } from 'solid-js';

/** Names and values. */
export function Facts(props: {
  readonly rows: readonly (readonly [string, string])[];
  readonly class?: string;
  readonly label?: string;
}): JSX.Element {
  return (
    <dl class={props.class} aria-label={props.label}>
      <For each={props.rows}>
        {([name, value]) => (
          <div>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        )}
      </For>
    </dl>
  );
}
