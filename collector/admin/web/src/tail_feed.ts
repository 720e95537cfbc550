// Live events as they come in: one EventSource per filter, and the latest of what it brought. Frozen it goes on listening and
// counts, so that the page can go on from where it is; nothing is kept beyond the bound.
import { getJson, type Session, type TailEvent } from './api';
import { part } from './json_text';

export interface TailRow { number: number; event: TailEvent; raw: string | null }

export interface TailState {
  rows: TailRow[];      // the newest first
  connection: 'connecting' | 'live' | 'lost' | 'resting';
  detail: string;
  missed: number;       // by the server's count: this page read too slowly
  waiting: number;      // came in since it was frozen
  frozen: boolean;
}

const KEPT = 200;
const REDRAW = 250;      // milliseconds: a thousand events a second must not be a thousand drawings

export class TailFeed {
  state: TailState = { rows: [], connection: 'connecting', detail: '', missed: 0, waiting: 0, frozen: false };
  private latest: TailRow[] = [];
  private number = 0;
  private frozenAt = 0;
  private source: EventSource | null = null;
  private redraw: ReturnType<typeof setTimeout> | undefined;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private readonly onVisibility = (): void => { document.hidden ? this.rest() : this.connect(); };

  constructor(private readonly address: string, private readonly changed: (state: TailState) => void) {}

  start(): void {
    document.addEventListener('visibilitychange', this.onVisibility);
    this.connect();
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.onVisibility);
    this.close();
    clearTimeout(this.redraw);
  }

  freeze(frozen: boolean): void {
    this.frozenAt = this.number;
    this.set({ frozen, waiting: 0, rows: this.latest });
  }

  clear(): void {
    this.latest = [];
    this.frozenAt = this.number;
    this.set({ rows: [], waiting: 0 });
  }

  private set(change: Partial<TailState>): void {
    this.state = { ...this.state, ...change };
    this.changed(this.state);
  }

  private close(): void {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  private rest(): void {
    this.close();
    this.set({ connection: 'resting' });
  }

  private connect(): void {
    this.close();
    const source = new EventSource(this.address);
    this.source = source;
    source.onopen = () => this.set({ connection: 'live', detail: '' });
    source.addEventListener('event', (frame: MessageEvent<string>) => this.take(frame.data));
    source.addEventListener('skipped', (frame: MessageEvent<string>) => {
      this.set({ missed: this.state.missed + (JSON.parse(frame.data) as { frames: number }).frames });
    });
    source.onerror = () => {
      if (this.source !== source) return;
      this.set({ connection: 'lost', detail: 'The server does not answer.' });
      if (source.readyState === EventSource.CLOSED) void this.findOut();
    };
  }

  private take(json: string): void {
    const row = { number: ++this.number, event: JSON.parse(json) as TailEvent, raw: part(json, ['raw']) };
    this.latest = [row, ...this.latest].slice(0, KEPT);
    this.redraw ??= setTimeout(() => {
      this.redraw = undefined;
      this.set(this.state.frozen ? { waiting: this.number - this.frozenAt } : { rows: this.latest });
    }, REDRAW);
  }

  // The browser has given up: signed out, too many listeners, or no server at all.
  private async findOut(): Promise<void> {
    this.close();
    try {
      const session = await getJson<Session>('/api/v1/session');
      if (!session.open && !session.signed_in) await getJson('/api/v1/live-counters');      // 401: signs out
      else this.set({ detail: 'The server takes no more listeners at the moment.' });
    } catch { /* said above already */ }
    if (this.source === null && !document.hidden) this.retry = setTimeout(() => this.connect(), 2_000);
  }
}
