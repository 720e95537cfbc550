// Live events as they come in: one EventSource per filter, and the latest of what it brought. Frozen it goes on listening and
// counts, so that the page can go on from where it is; nothing is kept beyond the bound.
import type { TailEvent } from './api';
import { part } from './json_text';
import { Stream, type Connection } from './stream';

export interface TailRow { number: number; event: TailEvent; raw: string | null }

export interface TailState {
  rows: TailRow[];      // the newest first
  connection: Connection;
  detail: string;
  missed: number;       // by the server's count: this page read too slowly
  waiting: number;      // came in since it was frozen
  frozen: boolean;
}

const KEPT = 200;
const REDRAW = 250;      // milliseconds: a thousand events a second must not be a thousand drawings

export class TailFeed extends Stream {
  state: TailState = { rows: [], connection: 'connecting', detail: '', missed: 0, waiting: 0, frozen: false };
  private latest: TailRow[] = [];
  private number = 0;
  private frozenAt = 0;
  private redraw: ReturnType<typeof setTimeout> | undefined;

  constructor(address: string, private readonly changed: (state: TailState) => void) { super(address); }

  override stop(): void {
    super.stop();
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

  protected override hear(source: EventSource): void {
    source.onopen = () => this.set({ connection: 'live', detail: '' });
    source.addEventListener('event', (frame: MessageEvent<string>) => this.take(frame.data));
  }

  protected override skip(frames: number): void { this.set({ missed: this.state.missed + frames }); }
  protected override lose(detail: string): void { this.set({ connection: 'lost', detail }); }
  protected override rested(): void { this.set({ connection: 'resting' }); }

  private take(json: string): void {
    const row = { number: ++this.number, event: JSON.parse(json) as TailEvent, raw: part(json, ['raw']) };
    this.latest = [row, ...this.latest].slice(0, KEPT);
    this.redraw ??= setTimeout(() => {
      this.redraw = undefined;
      this.set(this.state.frozen ? { waiting: this.number - this.frozenAt } : { rows: this.latest });
    }, REDRAW);
  }
}
