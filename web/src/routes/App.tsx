import { A, Route, Router, type RouteSectionProps } from '@solidjs/router';
import { ErrorBoundary, lazy, Suspense, type JSX } from 'solid-js';
import './shell.css';

// Each page is its own chunk: a viewer never downloads the studio, and the lobby brings neither.
const LobbyPage = lazy(() => import('../lobby/LobbyPage.tsx'));
const PlayerPage = lazy(() => import('../player/PlayerPage.tsx'));
const StudioPage = lazy(() => import('../studio/StudioPage.tsx'));
const AdminPage = lazy(() => import('./AdminPage.tsx'));
const NotFoundPage = lazy(() => import('./NotFoundPage.tsx'));

/** The web app: its routes inside the shell. */
export function App(): JSX.Element {
  return (
    <Router root={Shell}>
      <Route path="/" component={LobbyPage} />
      <Route path="/r/:room" component={PlayerPage} />
      <Route path="/studio/:room" component={StudioPage} />
      <Route path="/admin" component={AdminPage} />
      <Route path="*" component={NotFoundPage} />
    </Router>
  );
}

function Shell(props: RouteSectionProps): JSX.Element {
  return (
    <>
      <a class="skip-link" href="#main">
        Skip to content
      </a>
      <header class="shell-header">
        <A class="shell-brand" href="/" end>
          <img src="/favicon.svg" alt="" width="24" height="24" />
          freshet
        </A>
        <nav aria-label="Main">
          <A href="/" end>
            Rooms
          </A>
          <A href="/admin">Dashboard</A>
        </nav>
      </header>
      <main id="main" tabindex="-1">
        <ErrorBoundary fallback={(error: unknown) => <PageFailed error={error} />}>
          <Suspense fallback={<p class="shell-note">Loading…</p>}>{props.children}</Suspense>
        </ErrorBoundary>
      </main>
    </>
  );
}

function PageFailed(props: { error: unknown }): JSX.Element {
  return (
    <div class="shell-note" role="alert">
      <h1>This page stopped working</h1>
      <p>{props.error instanceof Error ? props.error.message : String(props.error)}</p>
      <p>
        <button type="button" onClick={() => location.reload()}>
          Reload
        </button>
      </p>
    </div>
  );
}
