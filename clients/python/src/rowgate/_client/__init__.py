"""The native client: what it shares between threads and asyncio, and the connection for threads."""
