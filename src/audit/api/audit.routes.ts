export const AUDIT_ROUTES = ['audit/events', 'performance/audit/events'];
