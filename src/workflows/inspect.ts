import type { InspectAnswers, InspectRequest } from '../domain/inspect.js';
import { inspection } from './proxies.js';

/** Reads what is on the hosts, for `status`, `history` and `logs`: changes nothing. */
export async function inspect(request: InspectRequest): Promise<InspectAnswers[InspectRequest['what']]> {
  return inspection.inspect.executeWithOptions({ summary: request.what }, [request]);
}
