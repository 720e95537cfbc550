// One connection to a stream of the server (server-sent events), for as long as somebody looks: it rests while the page is
// hidden, because a browser allows few connections to one server. What is heard and shown is the feed's that extends it.
import { getJson, type Session } from './api';

export type Connection = 'connecting' | 'live' | 'lost' | 'resting';

export abstract class Stream {
  private source: EventSource | null = null;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private readonly onVisibility = (): void => { document.hidden ? this.rest() : this.connect(); };

  constructor(private readonly address: string) {}

  start(): void {
    document.addEventListener('visibilitychange', this.onVisibility);
    this.connect();
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.onVisibility);
    this.close();
  }

  protected abstract hear(source: EventSource): void;      // adds the feed's listeners
  protected abstract skip(frames: number): void;           // by the server, because this page read too slowly
  protected abstract lose(detail: string): void;           // nothing is heard at the moment
  protected abstract rested(): void;

  protected connect(): void {
    this.close();
    const source = new EventSource(this.address);
    this.source = source;
    this.hear(source);
    source.addEventListener('skipped', (frame: MessageEvent<string>) => {
      this.skip((JSON.parse(frame.data) as { frames: number }).frames);
    });
    source.onerror = () => {
      if (this.source !== source) return;
      this.lose('The server does not answer.');
      // Left to itself the browser gives up after an answer that is no stream (signed out, too many
      // listeners, a proxy's error page), and some do after a refused connection.
      if (source.readyState === EventSource.CLOSED) void this.findOut();
    };
  }

  protected close(): void {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  private rest(): void {
    this.close();
    this.rested();
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
