// The pieces every view is made of. Text of strangers is only ever a text node: nothing here, or in any
// view, sets HTML.
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { messageOf } from './api';
import { moment } from './format';
import { pieces } from './json_text';

// Text that somebody else wrote: its direction cannot leak, invisible characters are named.
export function Foreign({ text }: { text: string }): JSX.Element {
  return <bdi class="foreign">{pieces(text).map((piece) =>
    piece.hidden ? <span class="hidden-character" title="an invisible character">{piece.text}</span> : piece.text)}</bdi>;
}

export function Time({ at }: { at: string | null | undefined }): JSX.Element {
  return at ? <time dateTime={at} title={at}>{moment(at)}</time> : <span class="muted">–</span>;
}

export type Tone = 'good' | 'warn' | 'bad' | 'plain' | 'busy';

export function Pill({ tone, children }: { tone: Tone; children: ComponentChildren }): JSX.Element {
  return <span class={`pill ${tone}`}><span class="dot" aria-hidden="true" />{children}</span>;
}

const STATES: Record<string, [Tone, string]> = {
  idle: ['good', 'Idle'], sending: ['busy', 'Sending'], backing_off: ['warn', 'Retrying'],
  stopped: ['bad', 'Stopped'], open: ['bad', 'Circuit open'], half_open: ['warn', 'Probing'],
};
export function StatePill({ state }: { state: string | undefined }): JSX.Element {
  const [tone, label] = STATES[state ?? ''] ?? ['plain', state ? state.replaceAll('_', ' ') : 'Not running'];
  return <Pill tone={tone}>{label}</Pill>;
}

interface PanelProps {
  title: string;
  note?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}
export function Panel(props: PanelProps): JSX.Element {
  const id = useId();
  return <section class={`panel ${props.class ?? ''}`} aria-labelledby={id}>
    <header class="panel-head">
      <div><h2 id={id}><Foreign text={props.title} /></h2>{props.note ? <p class="note">{props.note}</p> : null}</div>
      {props.actions ? <div class="actions">{props.actions}</div> : null}
    </header>
    {props.children}
  </section>;
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return <div class="empty"><p class="empty-title">{title}</p>{children ? <p>{children}</p> : null}</div>;
}

export function Loading({ what }: { what: string }): JSX.Element {
  return <div class="loading" role="status"><span class="spinner" aria-hidden="true" />Loading {what}…</div>;
}

export function Problem({ text, again }: { text: string; again?: () => void }): JSX.Element {
  return <div class="problem" role="alert">
    <p><Foreign text={text} /></p>
    {again ? <button type="button" onClick={again}>Try again</button> : null}
  </div>;
}

// A table that scrolls inside itself where it does not fit, and can then be reached by keyboard.
export function Table({ label, head, children }: { label: string; head: [string, string?][]; children: ComponentChildren }): JSX.Element {
  return <div class="table-scroll" role="region" aria-label={label} tabIndex={0}>
    <table>
      <thead><tr>{head.map(([text, kind]) => text === '' ? <td /> : <th scope="col" class={kind ?? ''}>{text}</th>)}</tr></thead>
      <tbody>{children}</tbody>
    </table>
  </div>;
}

export function Meter({ label, value, max, text }: { label: string; value: number; max: number; text: string }): JSX.Element {
  const share = max > 0 ? Math.min(1, value / max) : 0;
  const tone = share > 0.95 ? 'bad' : share > 0.8 ? 'warn' : '';
  return <div class="meter">
    <div class="meter-text"><span>{label}</span><span class="number">{text}</span></div>
    <svg class={`meter-bar ${tone}`} viewBox="0 0 100 4" preserveAspectRatio="none" role="meter" aria-label={label}
      aria-valuenow={Math.round(share * 100)} aria-valuemin={0} aria-valuemax={100} aria-valuetext={text}>
      <rect class="track" width="100" height="4" />
      <rect class="fill" width={share * 100} height="4" />
    </svg>
  </div>;
}

export function Facts({ rows }: { rows: [string, ComponentChildren][] }): JSX.Element {
  return <dl class="facts">{rows.map(([name, value]) => <div><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}

// A button that does something at the server: busy meanwhile, and says when it failed.
interface ActionProps {
  label: string;
  run: () => Promise<string | null>;      // what happened, for the page's announcer; null: nothing to say
  kind?: 'primary' | 'danger';
  about?: string;      // what it is done to, where a page has several such buttons: for screen readers
  disabled?: boolean;
  confirm?: { title: string; text: ComponentChildren; label: string; fields?: ComponentChildren };
}
export function Action(props: ActionProps): JSX.Element {
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const start = (): void => {
    setAsking(false);
    setBusy(true);
    props.run().then((said) => { if (said) announce(said); }, (error: unknown) => announce(messageOf(error), true))
      .finally(() => setBusy(false));
  };
  return <>
    <button type="button" class={props.kind ?? ''} disabled={busy || props.disabled} aria-busy={busy}
      onClick={() => props.confirm ? setAsking(true) : start()}>{props.label}{props.about ? <span class="visually-hidden"> {props.about}</span> : null}</button>
    {props.confirm && asking ?
      <Dialog {...props.confirm} onCancel={() => setAsking(false)} onConfirm={start} danger={props.kind === 'danger'} /> : null}
  </>;
}

// A question over the page. The harmless answer has the focus.
interface DialogProps {
  title: string; text: ComponentChildren; label: string; fields?: ComponentChildren; danger: boolean;
  onCancel: () => void; onConfirm: () => void;
}
function Dialog(props: DialogProps): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => { dialog.current?.showModal(); }, []);
  return <dialog ref={dialog} aria-labelledby={id} onClose={props.onCancel}>
    <form onSubmit={(event) => { event.preventDefault(); dialog.current?.close(); props.onConfirm(); }}>
      <h2 id={id}><Foreign text={props.title} /></h2>
      <p>{props.text}</p>
      {props.fields}
      <div class="actions end">
        <button type="button" autofocus onClick={() => dialog.current?.close()}>Cancel</button>
        <button type="submit" class={props.danger ? 'danger' : 'primary'}>{props.label}</button>
      </div>
    </form>
  </dialog>;
}

// ---- one place that says what happened, to eyes and to screen readers

interface Said { text: string; bad: boolean; number: number }
let say: (said: Said) => void = () => undefined;
let said = 0;
export function announce(text: string, bad = false): void { say({ text, bad, number: ++said }); }

export function Announcer(): JSX.Element {
  const [last, setLast] = useState<Said | null>(null);
  useEffect(() => { say = setLast; return () => { say = () => undefined; }; }, []);
  useEffect(() => {
    if (last === null || last.bad) return;
    const timer = setTimeout(() => setLast(null), 8_000);
    return () => clearTimeout(timer);
  }, [last]);
  return <div class="toasts" role={last?.bad ? 'alert' : 'status'} aria-live={last?.bad ? 'assertive' : 'polite'}>
    {last ? <div key={last.number} class={`toast ${last.bad ? 'bad' : ''}`}>
      <span><Foreign text={last.text} /></span>
      <button type="button" class="quiet" aria-label="Dismiss" onClick={() => setLast(null)}>✕</button>
    </div> : null}
  </div>;
}
