/** Whether a URL leads to this machine, where nobody listens in. */
export const isLoopback = ({ hostname }: URL): boolean => /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname);

/** A token goes over no network that others may listen to. */
export const mayCarryToken = (url: URL): boolean => url.protocol === 'https:' || isLoopback(url);
