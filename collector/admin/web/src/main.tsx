// The frame around the views: sign-in, navigation, the state of the connection.
import { render, type JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { ask, getJson, messageOf, whenSignedOut, type Session } from './api';
import { Configuration } from './configuration';
import { Consumers } from './consumers';
import { Failed } from './failed';
import { FailedEventView } from './failed_event';
import { clock, count, seconds, short } from './format';
import { LiveContext, useLive, useNow, usePlace, type Place } from './hooks';
import { Lanes } from './lanes';
import { Ledger } from './ledger';
import { LiveFeed } from './live';
import { Overview } from './overview';
import { Announcer, Foreign, Loading, Pill, Problem } from './parts';
import { Storage } from './storage';
import { Tail } from './tail';
import './style.css';

const VIEWS: { key: string; label: string; view: (place: Place) => JSX.Element }[] = [
  { key: '', label: 'Overview', view: () => <Overview /> },
  { key: 'failed', label: 'Failed', view: ({ path, values }) => path[1] ? <FailedEventView id={path[1]} /> : <Failed values={values} /> },
  { key: 'tail', label: 'Live events', view: ({ values }) => <Tail values={values} /> },
  { key: 'events', label: 'Find an event', view: ({ values }) => <Ledger values={values} /> },
  { key: 'lanes', label: 'Destinations', view: () => <Lanes /> },
  { key: 'consumers', label: 'Consumers', view: () => <Consumers /> },
  { key: 'storage', label: 'Disk & memory', view: () => <Storage /> },
  { key: 'configuration', label: 'Configuration', view: () => <Configuration /> },
];

function Logo(): JSX.Element {
  return <svg class="logo" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="7" /><path d="M5 11h8c3 0 3 4 6 4h8M5 17h7c3 0 3 4 6 4h9" /></svg>;
}

function ConnectionPill(): JSX.Element {
  const { connection } = useLive();
  if (connection === 'live') return <Pill tone="good">Live</Pill>;
  if (connection === 'lost') return <Pill tone="bad">Reconnecting</Pill>;
  return <Pill tone="plain">{connection === 'resting' ? 'Paused' : 'Connecting'}</Pill>;
}

function Banners(): JSX.Element {
  const { now, connection, detail } = useLive();
  return <div class="alerts" role="alert">
    {connection === 'lost' ? <div class="banner bad"><strong>Not connected.</strong> <Foreign text={detail} />{' '}
      {now ? `These figures are from ${clock(now.generated_at)}. ` : ''}Trying again…</div> : null}
    {now && connection !== 'lost' && !now.store.accepting ?
      <div class="banner bad"><strong>New events are refused:</strong> <Foreign text={now.store.refusal} /></div> : null}
    {now && connection !== 'lost' && now.store.damaged_segments > 0 ?
      <div class="banner warn"><strong>{count(now.store.damaged_segments)} damaged.</strong> Files were set aside; <code>weir store inspect</code> names them.</div> : null}
  </div>;
}

// The figures in words, for screen readers; once in half a minute, so that it does not chatter.
function SpokenSummary(): JSX.Element {
  const feed = useLive();
  const tick = useNow(30_000);
  const latest = useRef(feed.now);
  latest.current = feed.now;
  const text = useMemo(() => {
    const live = latest.current;
    return live === null ? '' : `${count(live.pending)} pending, ${count(live.sent)} sent, ${count(live.failed)} failed.`;
  }, [tick, feed.now === null]);
  return <p class="visually-hidden" role="status">{text}</p>;
}

function Frame({ session, onSignOut }: { session: Session; onSignOut: () => void }): JSX.Element {
  const place = usePlace();
  const { now } = useLive();
  const main = useRef<HTMLElement>(null);
  const current = VIEWS.find((view) => view.key === (place.path[0] ?? '')) ?? VIEWS[0]!;
  const shown = useRef(current.key);
  useEffect(() => {
    document.title = `${current.label} · Weir${now ? ` on ${now.node}` : ''}`;
    if (shown.current === current.key) return;
    document.querySelector('nav a[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    shown.current = current.key;      // a new view: read on from its beginning
    main.current?.focus();
    scrollTo(0, 0);
  }, [current, now?.node]);
  return <div class="frame">
    <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>Skip to content</a>
    <header class="side">
      <a class="brand" href="#/"><Logo /><span><strong>Weir</strong>{now ? <span class="node"><Foreign text={now.node} /></span> : null}</span></a>
      <nav aria-label="Views"><ul>{VIEWS.map((view) => <li>
        <a href={`#/${view.key}`} aria-current={view === current ? 'page' : undefined}>{view.label}
          {view.key === 'failed' && now && now.failed > 0 ? <span class="badge">{short(now.failed)}<span class="visually-hidden"> failed</span></span> : null}</a>
      </li>)}</ul></nav>
      <div class="side-foot">
        <ConnectionPill />
        {now ? <span class="muted version">{now.version} · up {seconds(now.uptime_seconds)}</span> : null}
        {session.open ? null : <button type="button" class="quiet" onClick={onSignOut}>Sign out</button>}
      </div>
    </header>
    <main id="main" ref={main} tabIndex={-1}>
      <h1>{current.label}</h1>
      <Banners />
      {current.view(place)}
    </main>
    <SpokenSummary />
    <Announcer />
  </div>;
}

function SignIn({ onDone }: { onDone: () => void }): JSX.Element {
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const send = async (form: HTMLFormElement): Promise<void> => {
    setBusy(true);
    setError('');
    try {
      const token = String(new FormData(form).get('token')).trim();
      if (!/^[!-~]+$/.test(token)) throw new Error('A token has letters, digits and signs only.');
      await ask('POST', '/api/v1/session', undefined, { Authorization: `Bearer ${token}` });
      form.reset();
      onDone();
    } catch (failed) {
      setError(messageOf(failed));
    } finally {
      setBusy(false);
    }
  };
  return <main class="sign-in">
    <form class="panel" onSubmit={(event) => { event.preventDefault(); void send(event.currentTarget); }}>
      <Logo />
      <h1>Sign in to Weir</h1>
      <p class="note">With a token of the role <code>admin</code>. The browser keeps a session, not the token.</p>
      <label>Token<input name="token" type="password" autocomplete="current-password" required autofocus
        aria-invalid={error !== ''} aria-describedby="sign-in-error" /></label>
      <p id="sign-in-error" class="bad-text" role="alert">{error}</p>
      <button type="submit" class="primary" disabled={busy} aria-busy={busy}>Sign in</button>
    </form>
  </main>;
}

function SignedIn({ session, onSignOut }: { session: Session; onSignOut: () => void }): JSX.Element {
  const feed = useMemo(() => new LiveFeed(), []);
  useEffect(() => { feed.start(); return () => feed.stop(); }, [feed]);
  return <LiveContext.Provider value={feed}><Frame session={session} onSignOut={onSignOut} /></LiveContext.Provider>;
}

function App(): JSX.Element {
  const [session, setSession] = useState<Session | null>(null);
  const [error, setError] = useState('');
  const look = (): void => {
    setError('');
    getJson<Session>('/api/v1/session').then(setSession, (failed: unknown) => setError(messageOf(failed)));
  };
  useEffect(() => {
    whenSignedOut(() => setSession((was) => was === null ? was : { ...was, signed_in: false }));
    look();
  }, []);
  if (session === null)
    return <main class="sign-in">{error ? <Problem text={error} again={look} /> : <Loading what="Weir" />}</main>;
  if (!session.open && !session.signed_in) return <SignIn onDone={look} />;
  return <SignedIn session={session} onSignOut={() => { ask('DELETE', '/api/v1/session').finally(look); }} />;
}

const root = document.getElementById('app');
if (root !== null) render(<App />, root);
