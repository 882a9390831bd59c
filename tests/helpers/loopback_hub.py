"""A Hugging Face Hub on loopback: a real HTTP server that speaks what huggingface_hub's client uses, all in memory.

    with LoopbackHub() as hub:
        ...                      # a client with HF_ENDPOINT=hub.url and HF_HUB_DISABLE_XET=1
        hub.fault('PUT /lfs/', 503, times=1)

Users are known by their tokens: `hf_alice`, `hf_carol` and `hf_user` may write under their names, `hf_bob` may only
read. Anyone logged in may open a pull request on what they can read. Large files live behind a redirect to another host
name, as on the real Hub.
"""
import base64
import functools
import hashlib
import json
import re
import time

import yaml
from loopback_http import Answer, Fault, FaultyHandler, Loopback, error

TOKENS = {
    'hf_alice': ('alice', 'write'), 'hf_user': ('USER', 'write'), 'hf_bob': ('bob', 'read'),
    'hf_carol': ('carol', 'write'),
}
LICENSES = ('apache-2.0', 'mit', 'cc-by-4.0', 'cc-by-nc-4.0', 'cc-by-nc-sa-4.0', 'unknown', 'other')


class Repo:
    """Commits are complete {path: (bytes, is large)} dictionaries, so one assignment is one atomic commit."""

    def __init__(self, private=False):
        self.private, self.gated = private, False
        self.commits, self.refs, self.lfs, self.pull_requests = {}, {}, {}, 0
        self.commit('main', {'.gitattributes': (b'*.safetensors filter=lfs\n', False)})

    def commit(self, ref, files):
        sha = hashlib.sha1(repr((ref, time.time_ns(), sorted(files))).encode()).hexdigest()
        self.commits[sha] = files
        self.refs[ref] = sha
        return sha

    def files(self, revision='main'):
        return self.commits[self.sha(revision)]

    def sha(self, revision):
        sha = self.refs.get(revision, revision)
        if sha not in self.commits:
            raise error(404, f'Invalid rev id: {revision}', 'RevisionNotFound')
        return sha


class LoopbackHub(Loopback):
    def __init__(self):
        super().__init__(Handler)
        self.repos = {}
        self.url, self.cdn = f'http://127.0.0.1:{self.port}', f'http://localhost:{self.port}'

    def fault(self, pattern, kind, **kwargs):
        """Break requests whose 'METHOD /path?query name-in-body' matches a regular expression."""
        with self.lock:
            self.faults.append(Fault(pattern, kind, **kwargs))

    def put_repo(self, name, files, large=('.safetensors', '.bin'), private=False):
        """Fill a repository as if somebody had pushed `files`, a {path: bytes} dictionary."""
        repo = self.repos.setdefault(name, Repo(private))
        repo.commit('main', {**repo.files(), **{p: (b, p.endswith(tuple(large))) for p, b in files.items()}})
        return repo


class Handler(FaultyHandler):
    def user(self, needed=False):
        header = self.headers.get('Authorization')
        if header is None:
            if needed:
                raise error(401, 'Invalid username or password.')
            return None, None
        if header.removeprefix('Bearer ') not in TOKENS:
            raise error(401, 'Invalid credentials in Authorization header')
        return TOKENS[header.removeprefix('Bearer ')]

    def repo(self, name, write=False, files=False):
        user, role = self.user(needed=write)
        repo = self.hub.repos.get(name)
        if repo is None or repo.private and user != name.split('/')[0]:
            raise error(404 if user else 401, 'Repository not found', 'RepoNotFound')
        if repo.gated and files and user != name.split('/')[0]:
            raise error(403 if user else 401, f'Access to model {name} is restricted.', 'GatedRepo')
        if write and (role != 'write' or user != name.split('/')[0]) and self.query.get('create_pr') != '1':
            raise error(403, 'Forbidden: you must have write access to this repository')
        return repo

    def route(self, parts, body):
        if parts[0] == 'cdn':  # signed addresses: no token is needed, and none should come
            self.file(self.hub.repos['/'.join(parts[1:3])].lfs[parts[3]], ETag=f'"{parts[3]}"')
        if parts[0] == 'lfs':
            if hashlib.sha256(body).hexdigest() != parts[3]:
                raise error(400, 'The content does not match its SHA-256')
            self.hub.repos['/'.join(parts[1:3])].lfs[parts[3]] = body
            raise Answer(200)
        if parts[:2] == ['api', 'whoami-v2']:
            name, role = self.user(needed=True)
            raise Answer(200, {'type': 'user', 'name': name, 'auth': {'accessToken': {'role': role}}, 'orgs': []})
        if parts[:2] == ['api', 'validate-yaml']:
            self.validate_yaml(json.loads(body)['content'])
        if parts == ['api', 'repos', 'create']:
            self.create(json.loads(body))
        if parts[:2] == ['api', 'models']:
            getattr(self, f'api_{parts[4] if len(parts) > 4 else "revision"}')('/'.join(parts[2:4]), parts[5:], body)
        if len(parts) > 4 and parts[2] == 'resolve':
            self.resolve('/'.join(parts[:2]), parts[3], '/'.join(parts[4:]))
        if len(parts) > 2 and parts[1].endswith('.git'):
            self.lfs(f'{parts[0]}/{parts[1][:-4]}', parts[-1], json.loads(body))

    def create(self, data):
        user, role = self.user(needed=True)
        owner = data.get('organization') or user
        name = f'{owner}/{data["name"]}'
        if owner != user or role != 'write':
            raise error(403, f"You don't have the rights to create a model under the namespace \"{owner}\"")
        status = 409 if name in self.hub.repos else 200
        if status == 200:
            self.hub.repos[name] = Repo(data.get('visibility') == 'private' or bool(data.get('private')))
        message = {'error': 'You already created this model repo'} if status == 409 else {}
        raise Answer(status, {'url': f'{self.hub.url}/{name}', 'name': name, **message})

    def validate_yaml(self, content):
        front = re.match(r'---\n(.*?)\n---\n', content, re.S)
        data = yaml.safe_load(front[1]) if front else {}
        if data.get('license') not in (None, *LICENSES):
            raise Answer(400, {'errors': [{'message': '"license" must be one of the known licenses'}], 'warnings': []})
        raise Answer(200, {'errors': [], 'warnings': []})

    def api_revision(self, name, rest, body):
        repo = self.repo(name)
        sha = repo.sha(rest[0] if rest else 'main')
        raise Answer(200, {
            'id': name, 'modelId': name, 'sha': sha, 'private': repo.private, 'gated': repo.gated, 'tags': [],
            'downloads': 0, 'likes': 0, 'siblings': [{'rfilename': path} for path in repo.commits[sha]]})

    def api_tree(self, name, rest, body):
        raise Answer(200, [self.entry(path, *file) for path, file in self.repo(name).files(rest[0]).items()])

    def api_refs(self, name, rest, body):
        refs = [{'name': ref, 'ref': f'refs/heads/{ref}', 'targetCommit': sha}
                for ref, sha in self.repo(name).refs.items() if not ref.startswith('refs/')]
        raise Answer(200, {'branches': refs, 'tags': [], 'converts': []})

    def api_branch(self, name, rest, body):
        repo = self.repo(name, write=True)
        if rest[0].startswith('refs/'):
            raise error(400, 'Invalid reference for a branch')
        if rest[0] in repo.refs:
            raise error(409, 'Reference already exists')
        repo.refs[rest[0]] = repo.sha(json.loads(body).get('startingPoint', 'main'))
        raise Answer(200, {})

    def api_preupload(self, name, rest, body):
        files = self.repo(name, write=True).files(rest[0])
        entries = []
        for file in json.loads(body)['files']:
            path = file['path']
            oid = {'oid': self.entry(path, *files[path])['oid']} if path in files else {}
            mode = 'lfs' if path.endswith(('.safetensors', '.bin')) else 'regular'
            entries.append({'path': path, 'uploadMode': mode, 'shouldIgnore': False, **oid})
        raise Answer(200, {'files': entries})

    def api_commit(self, name, rest, body):
        repo = self.repo(name, write=True)
        files, ref = dict(repo.files(rest[0])), rest[0]
        for line in body.splitlines():
            key, value = (item := json.loads(line))['key'], item['value']
            if key == 'file':
                files[value['path']] = (base64.b64decode(value['content']), False)
            elif key == 'lfsFile':
                if len(repo.lfs.get(value['oid'], b'')) != value['size']:
                    raise error(400, f'LFS object {value["oid"]} of {value["path"]} was not uploaded')
                files[value['path']] = (repo.lfs[value['oid']], True)
        result = {'success': True}
        if self.query.get('create_pr') == '1':
            repo.pull_requests += 1
            ref = f'refs/pr/{repo.pull_requests}'
            result['pullRequestUrl'] = f'{self.hub.url}/{name}/discussions/{repo.pull_requests}'
        sha = repo.commit(ref, files)
        raise Answer(200, {**result, 'commitOid': sha, 'commitUrl': f'{self.hub.url}/{name}/commit/{sha}'})

    def lfs(self, name, action, data):
        repo = self.repo(name)
        if action == 'verify':
            raise Answer(200 if data['oid'] in repo.lfs else 404, {})
        self.user(needed=True)
        objects = []
        for item in data['objects']:
            upload = {'href': f'{self.hub.url}/lfs/{name}/{item["oid"]}'}
            verify = {'href': f'{self.hub.url}/{name}.git/info/lfs/objects/verify'}
            actions = {} if item['oid'] in repo.lfs else {'actions': {'upload': upload, 'verify': verify}}
            objects.append({**item, **actions})
        raise Answer(200, {'transfer': 'basic', 'objects': objects})

    @staticmethod
    @functools.lru_cache(maxsize=64)  # weights of 100 MB are asked for again and again
    def entry(path, data, large):
        blob = hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest()
        entry = {'type': 'file', 'path': path, 'size': len(data), 'oid': blob}
        if large:
            entry['oid'] = entry['sha256'] = hashlib.sha256(data).hexdigest()
            entry['lfs'] = {'oid': entry['oid'], 'size': len(data), 'pointerSize': 134}
        return entry

    def resolve(self, name, revision, path):
        repo = self.repo(name, files=True)
        sha = repo.sha(revision)
        if path not in repo.commits[sha]:
            missing = error(404, 'Entry not found', 'EntryNotFound')
            missing.headers['X-Repo-Commit'] = sha
            raise missing
        data, large = repo.commits[sha][path]
        oid = self.entry(path, data, large)['oid']
        if not large:
            self.file(data, ETag=f'"{oid}"', X_Repo_Commit=sha)
        repo.lfs[oid] = data
        raise Answer(302, X_Repo_Commit=sha, X_Linked_Etag=f'"{oid}"', X_Linked_Size=str(len(data)),
                     Location=f'{self.hub.cdn}/cdn/{name}/{oid}')
