import { LabIcon } from '@jupyterlab/ui-components';

/** A clock. */
export const sessionIcon = new LabIcon({
  name: 'firecrest-launcher:session',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 16 16">
  <g class="jp-icon3" fill="#616161" fill-rule="evenodd">
    <path d="M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13zM8 3a5 5 0 1 1 0 10a5 5 0 0 1 0-10z"/>
    <path d="M7.25 4.5h1.5v3.1l2.2 1.3l-.75 1.3l-2.95-1.75z"/>
  </g>
</svg>`
});
