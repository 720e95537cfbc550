// One failed event: what happened to it, its own object, and what can be done.
import type { JSX } from 'preact';
import { useEffect, useId, useState } from 'preact/hooks';
import { ask, getJson, type FailedEvent } from './api';
import { count } from './format';
import { useLoad } from './hooks';
import { indented, problemOf } from './json_text';
import { StoryLink } from './ledger';
import { Action, Facts, Foreign, Loading, Panel, Pill, Problem, Time } from './parts';

// The client's own object exactly as stored: the listing's JSON would pass through numbers of this
// language, and a 30-digit one would not survive.
async function rawText(id: number): Promise<string> {
  const answer = await ask('GET', `/api/v1/failed/export?raw=1&limit=1&after=${id - 1}`);
  return (await answer.text()).replace(/\n$/, '');
}

function Editor({ event, raw, onSaved }: { event: FailedEvent; raw: string; onSaved: () => void }): JSX.Element {
  const original = indented(raw);
  const [text, setText] = useState(original);
  const help = useId();
  useEffect(() => setText(original), [original]);
  const editable = raw.startsWith('{') && !event.requeued;
  const edited = text !== original;
  const problem = edited ? problemOf(text) : null;
  const save = async (): Promise<string> => {
    await ask('PUT', `/api/v1/failed/${event.id}`, text);
    onSaved();
    return 'Saved.';
  };
  const sendAgain = async (): Promise<string> => {
    if (edited) await ask('PUT', `/api/v1/failed/${event.id}`, text);
    await ask('POST', `/api/v1/failed/${event.id}/requeue`);
    onSaved();
    return 'The event will be sent again.';
  };
  return <>
    <textarea class="editor mono" aria-label="The event's JSON object" aria-describedby={help} aria-invalid={problem !== null} spellcheck={false}
      readOnly={!editable} rows={Math.min(24, Math.max(6, text.split('\n').length + 1))} value={text}
      onInput={(change) => setText(change.currentTarget.value)} />
    <p id={help} class={problem ? 'bad-text' : 'note'} role={problem ? 'alert' : undefined}>
      {problem !== null ? problem : event.requeued ? 'It waits to be sent; it can be edited when it failed again.' :
        editable ? 'Edit it if the destination was right to refuse it. Its id stays the same.' : 'This event is not a JSON object and cannot be edited here.'}
    </p>
    <div class="actions">
      <Action label={edited ? 'Save and requeue' : 'Requeue'} kind="primary" disabled={event.requeued || problem !== null} run={sendAgain} />
      <Action label="Save" disabled={!edited || problem !== null || event.requeued} run={save} />
      {edited ? <button type="button" onClick={() => setText(original)}>Undo changes</button> : null}
      <span class="spacer" />
      <Action label="Discard…" kind="danger" run={async () => {
        await ask('POST', `/api/v1/failed/${event.id}/discard`);
        location.hash = '#/failed';
        return 'The event was discarded.';
      }} confirm={{ title: 'Discard for good?', text: 'The event leaves the failed ones and is counted as given up.', label: 'Discard' }} />
    </div>
  </>;
}

export function FailedEventView({ id }: { id: string }): JSX.Element {
  const loaded = useLoad(id, async () => {
    const event = await getJson<FailedEvent>(`/api/v1/failed/${encodeURIComponent(id)}`);
    return { event, raw: await rawText(event.id) };
  });
  const back = <p class="back"><a href="#/failed">← All failed events</a></p>;
  if (loaded.value === null)
    return <>{back}{loaded.error ? <Problem text={loaded.error} again={loaded.reload} /> : <Loading what="the event" />}</>;
  const { event, raw } = loaded.value;
  return <>
    {back}
    <div class="columns">
      <Panel title="What happened" actions={event.requeued ? <Pill tone="busy">Waiting to be sent again</Pill> : <Pill tone="bad">Failed</Pill>}>
        <Facts rows={[
          ['Destination', <Foreign text={event.destination} />],
          ['Reason', <Foreign text={event.reason} />],
          ['Status', event.status === 0 ? 'no answer' : String(event.status)],
          ['Attempts', count(event.attempts)],
          ['Received', <Time at={event.received_at} />],
          ['First attempt', <Time at={event.first_attempt_at} />],
          ['Given up', <Time at={event.failed_at} />],
        ]} />
        <h3>Last answer</h3>
        <pre class="answer" tabIndex={0} aria-label="Last answer"><Foreign text={event.detail || '(nothing)'} /></pre>
      </Panel>
      <Panel title="The event">
        <Facts rows={[
          ['Name', <Foreign text={event.name} />],
          ['Id', <StoryLink id={event.event_id || event.seq} tenant={event.tenant} />],
          ['Tenant', <Foreign text={event.tenant} />],
          ['Position', <span class="mono">{event.seq}</span>],
        ]} />
        <Editor event={event} raw={raw} onSaved={loaded.reload} />
      </Panel>
    </div>
  </>;
}
