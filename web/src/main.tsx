import { render } from 'solid-js/web';
import { App } from './routes/App.tsx';
import './ui/style.css';

const root = document.getElementById('app');
if (!root) throw new Error('index.html has no #app element');
render(() => <App />, root);
