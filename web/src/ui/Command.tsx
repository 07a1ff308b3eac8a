import { createSignal, onCleanup, type JSX } from 'solid-js';

/** How long the button says that it has copied. */
const copiedMs = 2000;

/** A line to be run elsewhere, with a button that copies it. */
export function Command(props: { line: string; label: string }): JSX.Element {
  const [copied, setCopied] = createSignal(false);
  let timer: ReturnType<typeof setTimeout> | undefined;
  onCleanup(() => clearTimeout(timer));
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(props.line);
    } catch {
      // Without permission the line can still be selected by hand.
      return;
    }
    setCopied(true);
    clearTimeout(timer);
    timer = setTimeout(() => setCopied(false), copiedMs);
  };
  return (
    <div class="command">
      <pre tabindex="0" aria-label={props.label}>
        {props.line}
      </pre>
      <button type="button" onClick={() => void copy()} aria-label={`Copy: ${props.label}`}>
        {copied() ? 'Copied' : 'Copy'}
      </button>
    </div>
  );
}
