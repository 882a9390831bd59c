"""A server of files under any folder, resumable, with the faults that downloads meet."""
import time

from loopback_http import Answer, Fault, FaultyHandler, Loopback, error

PAGE = b'<!DOCTYPE html>\n<html><body>Please log in</body></html>'


class LoopbackFiles(Loopback):
    """Files under their names, in whatever folder they are asked for.

    Attributes:
        files: Name -> bytes.
        headers: Go with each of them.
        redirects: Name -> where it is.
        asked: Range and If-Range of every request.
        on_request: Called with the server at every request, to change things.
    """

    def __init__(self, files, **headers):
        super().__init__(Handler)
        self.files, self.headers, self.redirects, self.on_request, self.asked = files, headers, {}, None, []
        self.url = f'http://127.0.0.1:{self.port}/folder'

    def fault(self, kind, **kwargs):
        """Break the requests from now on, or `times` of them; None: no more faults."""
        with self.lock:
            self.faults = [Fault('^GET', kind, **kwargs)] if kind else []


class Handler(FaultyHandler):
    def route(self, parts, body):
        self.hub.asked.append((self.headers.get('Range'), self.headers.get('If-Range')))
        if self.hub.on_request:
            self.hub.on_request(self.hub)
        if parts[-1] in self.hub.redirects:
            raise Answer(302, Location=self.hub.redirects[parts[-1]])
        if parts[-1] not in self.hub.files:
            raise error(404, 'Not found')
        data = self.hub.files[parts[-1]]
        self.file(data, **self.hub.headers)

    def bent(self, answer, fault):
        half = len(answer.body) // 2
        if fault.kind == 'silent':
            time.sleep(fault.seconds)
        elif fault.kind == 'page':
            return Answer(200, PAGE, Content_Type='text/html')
        elif fault.kind == 'empty':
            return Answer(200)
        elif fault.kind == 'loop':
            return Answer(302, Location=self.path)
        elif fault.kind == 'ftp':
            return Answer(302, Location='ftp://127.0.0.1/file')
        elif fault.kind == 'nowhere':
            return Answer(302)
        elif fault.kind == 'nothing':
            return Answer(204)
        elif fault.kind == 'half':  # and says that it is all
            return Answer(200, answer.body[:half])
        elif fault.kind == 'compressed':
            answer.headers['Content-Encoding'] = 'gzip'
        elif fault.kind == 'unsized':
            self.close_connection = True
            answer.headers['Content-Length'] = None
        elif fault.kind in ('chunks', 'half in chunks'):
            body = answer.body if fault.kind == 'chunks' else answer.body[:half]
            end = b'0\r\n\r\n' if fault.kind == 'chunks' else b''
            self.close_connection = True
            body = b'%x\r\n%s\r\n%s' % (len(body), body, end)
            return Answer(200, body, Transfer_Encoding='chunked', Content_Length=None)
        elif fault.kind == 'other part':
            return Answer(206, answer.body[1:], Content_Range=f'bytes 1-{len(answer.body) - 1}/{len(answer.body)}')
        return answer
