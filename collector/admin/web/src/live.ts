// The live counters: one EventSource for the whole page, a history of the last minutes, and what is
// known about the connection. It rests while the page is hidden: a browser allows few connections to one
// server, and nobody looks.
import { getJson, type Live, type Session } from './api';

export interface Point {
  time: number;           // seconds since 1970
  accepted: number | null;      // per second
  sent: number | null;
  rejected: number | null;
  pending: number | null;
  commit50: number | null;      // milliseconds
  commit99: number | null;
  sync99: number | null;
  lanes: Record<string, number>;   // sent per second
}

export type Connection = 'connecting' | 'live' | 'lost' | 'resting';

export interface LiveState {
  now: Live | null;
  history: Point[];
  connection: Connection;
  detail: string;      // why it is lost
  missed: number;      // frames the server skipped because this page read too slowly
}

const KEPT = 300;
const PATIENCE = 3_000;      // before a lost connection is worth a word
const SILENCE = 6_000;       // without a frame: whoever is on the other side does not answer any more
const total = (values: Record<string, number>): number => Object.values(values).reduce((a, b) => a + b, 0);

function pointOf(before: Live | null, now: Live): Point {
  const time = new Date(now.generated_at).getTime() / 1000;
  const point: Point = {
    time, accepted: null, sent: null, rejected: null, pending: now.pending, commit50: now.latency.commit.p50_ms,
    commit99: now.latency.commit.p99_ms, sync99: now.latency.sync.p99_ms, lanes: {},
  };
  if (before === null) return point;
  const elapsed = time - new Date(before.generated_at).getTime() / 1000;
  if (elapsed <= 0 || elapsed > 10 || now.uptime_seconds < before.uptime_seconds) return point;
  const speed = (from: number, to: number): number => Math.max(0, (to - from) / elapsed);
  point.accepted = speed(before.accepted, now.accepted);
  point.rejected = speed(total(before.rejected), total(now.rejected));
  point.sent = 0;
  for (const group of ['destinations', 'consumers'] as const)
    for (const [name, lane] of Object.entries(now[group])) {
      const was = before[group][name];
      const speedOfLane = was ? speed(was.sent, lane.sent) : 0;
      point.lanes[name] = speedOfLane;
      point.sent += speedOfLane;
    }
  return point;
}

export class LiveFeed {
  state: LiveState = { now: null, history: [], connection: 'connecting', detail: '', missed: 0 };
  private source: EventSource | null = null;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private silence: ReturnType<typeof setTimeout> | undefined;
  private patience: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly onVisibility = (): void => { document.hidden ? this.rest() : this.connect(); };

  start(): void {
    document.addEventListener('visibilitychange', this.onVisibility);
    this.connect();
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.onVisibility);
    this.close();
    this.endPatience();
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => { this.listeners.delete(listener); };
  }

  private set(change: Partial<LiveState>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }

  private close(): void {
    clearTimeout(this.retry);
    clearTimeout(this.silence);
    this.source?.close();
    this.source = null;
  }

  private rest(): void {
    this.close();
    this.endPatience();
    this.set({ connection: 'resting' });
  }

  private endPatience(): void {
    clearTimeout(this.patience);
    this.patience = undefined;
  }

  // Nothing is heard at the moment: a reload of the server ends in a second, anything longer is said.
  private lose(detail: string): void {
    if (this.state.connection === 'lost') return this.set({ detail });
    this.set({ connection: 'connecting', detail });
    this.patience ??= setTimeout(() => this.set({ connection: 'lost' }), PATIENCE);
  }

  private listen(): void {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => { this.lose('The server has gone silent.'); this.connect(); }, SILENCE);
  }

  private connect(): void {
    this.close();
    this.listen();
    const source = new EventSource('/api/v1/live');
    this.source = source;
    source.addEventListener('counters', (event: MessageEvent<string>) => {
      const now = JSON.parse(event.data) as Live;
      const point = pointOf(this.state.now, now);
      const history = [...this.state.history, point].slice(-KEPT);
      this.endPatience();
      this.listen();
      this.set({ now, history, connection: 'live', detail: '' });
    });
    source.addEventListener('skipped', (event: MessageEvent<string>) => {
      this.set({ missed: this.state.missed + (JSON.parse(event.data) as { frames: number }).frames });
    });
    source.onerror = () => {
      if (this.source !== source) return;
      this.lose('The server does not answer.');
      // Left to itself the browser gives up after an answer that is no stream (signed out, too many
      // listeners, a proxy's error page), and some do after a refused connection.
      if (source.readyState === EventSource.CLOSED) void this.findOut();
    };
  }

  private async findOut(): Promise<void> {
    this.close();
    try {
      const session = await getJson<Session>('/api/v1/session');
      if (!session.open && !session.signed_in) await getJson('/api/v1/live-counters');   // 401: signs out
      else this.lose('The server takes no more listeners at the moment.');
    } catch { /* what ask() found out is shown where it is listened to; here only: again */ }
    if (this.source === null && !document.hidden) this.retry = setTimeout(() => this.connect(), 2_000);
  }
}
