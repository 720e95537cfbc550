// Hooks that several views use.
import { createContext } from 'preact';
import { useCallback, useContext, useEffect, useRef, useState } from 'preact/hooks';
import { messageOf } from './api';
import type { LiveFeed, LiveState } from './live';

export const LiveContext = createContext<LiveFeed | null>(null);

export function useLive(): LiveState {
  const feed = useContext(LiveContext);
  if (feed === null) throw new Error('useLive outside of the signed-in page');
  const [state, setState] = useState(feed.state);
  useEffect(() => {
    setState(feed.state);
    return feed.subscribe(() => setState(feed.state));
  }, [feed]);
  return state;
}

// "#/failed/17?tenant=x" -> path ["failed", "17"], values {tenant: "x"}
export interface Place { path: string[]; values: URLSearchParams }

function place(): Place {
  const [path = '', values = ''] = location.hash.replace(/^#\/?/, '').split('?', 2);
  return { path: path.split('/').filter((part) => part !== ''), values: new URLSearchParams(values) };
}

export function usePlace(): Place {
  const [here, setHere] = useState(place);
  useEffect(() => {
    const moved = (): void => setHere(place());
    addEventListener('hashchange', moved);
    moved();  // what changed between the first drawing and now was not heard
    return () => removeEventListener('hashchange', moved);
  }, []);
  return here;
}

export interface Loaded<T> { value: T | null; error: string; loading: boolean; reload: () => void }

// Asks once for each key; a later answer to an earlier question is ignored.
export function useLoad<T>(key: string, load: () => Promise<T>): Loaded<T> {
  const [state, setState] = useState<Omit<Loaded<T>, 'reload'>>({ value: null, error: '', loading: true });
  const current = useRef(0);
  const latest = useRef(load);
  latest.current = load;
  const reload = useCallback(() => {
    const mine = ++current.current;
    setState((was) => ({ ...was, loading: true }));
    latest.current().then(
      (value) => { if (mine === current.current) setState({ value, error: '', loading: false }); },
      (error: unknown) => {
        if (mine === current.current) setState((was) => ({ ...was, error: messageOf(error), loading: false }));
      });
  }, []);
  useEffect(() => {
    setState({ value: null, error: '', loading: true });
    reload();
    return () => { ++current.current; };
  }, [key, reload]);
  return { ...state, reload };
}

export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
