// The admin API as this page uses it: what it answers, and one function that asks.

export interface Counts { pending: number; sent: number; failed: number }

export interface Lane extends Counts {
  expired: number;
  skipped: number;
  oldest_pending_seconds: number;
  state?: string;
  in_flight?: number;
  attempts?: number;
  last_error?: string;
  next_attempt_at?: string | null;
}

export interface Quantiles { count: number; p50_ms: number | null; p95_ms: number | null; p99_ms: number | null }

// docs/live.md
export interface Live extends Counts {
  accepted: number;
  duplicates: number;
  rejected: Record<string, number>;
  refused_requests: Record<string, number>;
  destinations: Record<string, Lane>;
  consumers: Record<string, Lane>;
  store: {
    id: string; ready: boolean; accepting: boolean; refusal: string; events: number; bytes: number;
    max_bytes: number; segments: number; damaged_segments: number; disk_free_bytes: number;
    append_queue_requests: number; directory: string;
  };
  dedupe: { entries: number; bytes: number; window_seconds: number };
  rates: { accepted_per_second: number; sent_per_second: number };
  latency: { commit: Quantiles; sync: Quantiles };
  connections: Record<string, number>;
  process: {
    cpu_seconds: number; resident_bytes: number; anonymous_bytes: number; body_memory_used_bytes: number;
    body_memory_limit_bytes: number; open_files: number; max_open_files: number; threads: number;
  };
  node: string;
  version: string;
  uptime_seconds: number;
  generated_at: string;
}

export interface Stats extends Counts {
  accepted: number;
  duplicates: number;
  tenants: Record<string, Counts>;
  destinations: Record<string, Counts>;
  consumers: Record<string, Counts>;
  generated_at: string;
  cache_ttl_seconds: number;
}

export interface FailedEvent {
  id: number;
  destination: string;
  seq: string;
  tenant: string;
  event_id: string;
  name: string;
  received_at: string;
  first_attempt_at: string;
  failed_at: string;
  attempts: number;
  status: number;
  reason: string;
  detail: string;
  requeued: boolean;
}

export interface FailedPage { failed: FailedEvent[]; next: number | null }

export interface Lease { lease: string; holder: string; events: number; delivery: number; expires_at: string | null }
export interface Consumer {
  name: string; declared: boolean; temporary: boolean; idle: boolean; pending: number; leased: number; delayed: number; acked: number;
  failed: number; waiting: number; oldest_pending_at: string | null; active_at: string | null;
  next: string[]; leases_held: number; leases: Lease[]; max_deliveries: number; lease_seconds: number;
}

// What one destination or consumer did with an event.
export interface Fate {
  state: 'pending' | 'in_flight' | 'leased' | 'delayed' | 'sent' | 'failed' | 'expired' | 'skipped';
  reason: string; attempts: number; batch_id: string; status: number; last_error: string; finished_at: string | null;
  next_attempt_at?: string | null; leased_by?: string; lease_expires_at?: string | null; failed_id?: number;
}
export interface Story {
  id: string; seq: string; tenant: string; name: string; received_at: string | null; committed_at: string | null;
  segment: { file: string; first: number; last: number; sealed: boolean } | null;
  destinations: Record<string, Fate>;
  consumers: Record<string, Fate>;
  event: Record<string, unknown> | null;      // its canonical fields; raw and envelope are read as text
}

export interface TailEvent {
  at: string; outcome: 'stored' | 'duplicate' | 'rejected'; reason: string; source: string; tenant: string; key: string;
  name: string; id: string; seq: string | null; bytes: number;
}

export interface Setting { value: string; default: string; origin: string }

export interface Session { open: boolean; signed_in: boolean; name: string }

export class ApiError extends Error {
  constructor(readonly status: number, readonly code: string, message: string) {
    super(message);
  }
}

let onSignedOut: () => void = () => undefined;
export function whenSignedOut(callback: () => void): void { onSignedOut = callback; }

// Asks and hands back the answer; what is not a 2xx is an ApiError whose message is for a person.
export async function ask(method: string, path: string, body?: string, headers: Record<string, string> = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method, headers, credentials: 'same-origin', cache: 'no-store', redirect: 'error', ...(body === undefined ? {} : { body }),
    });
  } catch {
    throw new ApiError(0, 'unreachable', 'The server does not answer. Is it running?');
  }
  if (answer.ok) return answer;
  let code = String(answer.status);
  let message = `The server answered ${answer.status}.`;
  try {
    const said: unknown = await answer.json();
    if (said && typeof said === 'object') {
      if ('code' in said) code = String(said.code);
      if ('message' in said) message = String(said.message);
    }
  } catch { /* not JSON: the status has to do */ }
  if (answer.status === 401 && path !== '/api/v1/session') onSignedOut();
  throw new ApiError(answer.status, code, message);
}

export async function getJson<T>(path: string): Promise<T> {
  return await (await ask('GET', path)).json() as T;
}

export function query(values: Record<string, string | number | null | undefined>): string {
  const out = new URLSearchParams();
  for (const [key, value] of Object.entries(values))
    if (value !== '' && value !== null && value !== undefined) out.set(key, String(value));
  const text = out.toString();
  return text === '' ? '' : `?${text}`;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
