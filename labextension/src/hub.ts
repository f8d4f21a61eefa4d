import { PageConfig, URLExt } from '@jupyterlab/coreutils';

/** Return the address of the hub's page with the user's servers. */
export function home(): string {
  return address('home');
}

/** Return the address where this server is started anew. */
export function spawn(): string {
  const user = PageConfig.getOption('hubServerUser') || PageConfig.getOption('hubUser');
  return address('spawn', encodeURIComponent(user), PageConfig.getOption('hubServerName'));
}

function address(...path: string[]): string {
  return PageConfig.getOption('hubHost') + URLExt.join(PageConfig.getOption('hubPrefix'), ...path);
}
