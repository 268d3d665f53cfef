#!/usr/bin/env python3
"""make_template_cases.py - what chat templates render to, for test_template.

    TZ=UTC python3 tests/unit/make_template_cases.py        from the root of the source tree

Writes tests/unit/data/template_cases.json. Every expected text comes from transformers' own environment (jinja2 under it), whose
versions the file names; building and testing need neither. EXPRESSIONS are put between {{ and }}, one a line; STATEMENTS
are templates, one a line; LAYOUTS are templates about white space; CHATS go through apply_chat_template's renderer.
A case whose expected text is null is one that the reference refuses, at whatever moment and with whatever message.
"""
import datetime
import json
import sys

import jinja2
import transformers
import transformers.utils.chat_template_utils as reference

OUT = "tests/unit/data/template_cases.json"
NOW = 1700000000


class Fixed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW)


reference.datetime = Fixed

CONTEXT = {'x': 5,
 'y': -3,
 'f': 2.5,
 's': 'Hello World',
 'e': '',
 'n': None,
 't': True,
 'u8': 'Grüße 日本 ß',
 'l': [3, 1, 2],
 'ls': ['b', 'A', 'c'],
 'd': {'b': 1, 'a': 2, 'items': 7, 'C': None},
 'users': [{'name': 'Bob', 'age': 30, 'tags': ['x', 'y']},
           {'name': 'alice', 'age': 25, 'tags': []},
           {'name': 'Carl', 'age': 30, 'tags': ['z'], 'address': {'city': 'Ulm'}}],
 'messages': [{'role': 'system', 'content': 'sys'},
              {'role': 'user', 'content': 'hi <b> & "q"'},
              {'role': 'assistant', 'content': [{'type': 'text', 'text': 'T'}, {'type': 'image'}]}],
 'html': "<a href='x'>&</a>",
 'big': 9007199254740993,
 'nested': [[1, [2, 3]], {'k': [None, True, 1.5]}],
 'ml': 'line1\n\nline3\r\nline4',
 'ws': ' \t x y \xa0\n'}

EXPRESSIONS = r'''
1 + 2 * 3
(1 + 2) * 3
7 // 2
-7 // 2
7 // -2
7 % 3
-7 % 3
7 % -3
7.5 // 2
-7.5 // 2
-7.5 % 2
7.5 % -2
2 ** 10
2 ** 3 ** 2
-2 ** 2
2 ** -1
2.0 ** 0.5
1 / 2
4 / 2
1 / 0
1 // 0
1 % 0
1.0 / 0
9223372036854775807
0x1f
0b101
0o17
1_000
1e3
1.5e-7
1e16
123456789012345680.0
0.1 + 0.2
1e15
1e-4
0.00001
1.0
100000000000000000000.0
3.14159265358979
+5
-x
- -x
-x|abs
x ~ y ~ f
'a' ~ 1 ~ none ~ true ~ [1,'a']
"a" 'b' "c"
'a\nb\tc\\d\'e\x41\u00e9\U0001f600\101'
'a\qb'
'\é'
s[0]
s[-1]
s[100]
s[1:3]
s[::-1]
s[-3:]
s[:-3]
s[10:2:-2]
s[::0]
u8[2:4]
u8[::-1]
u8|length
u8.upper()
u8.lower()
u8.title()
u8|upper
u8|title
u8|capitalize
l[0]
l[-1]
l[5]
l[1:]
l[::-1]
l[::2]
l['a']
d['a']
d.a
d['items']
d.b
d.zzz
d['zzz']
d.zzz.y
d['zzz']['y']
zzz
zzz.y
zzz['y']
zzz()
zzz + 1
zzz ~ 'a'
zzz == zzz
zzz == none
zzz < 1
zzz|length
zzz|list
zzz|int
zzz|float
zzz|upper
zzz|join(',')
zzz|tojson
zzz|default('d')
zzz|d
zzz|first
zzz|last
zzz|sum
zzz|min
zzz|sort
zzz|reverse|list
zzz|items|list
zzz|dictsort
zzz|round
zzz|abs
zzz|string|length
zzz|trim
zzz|title
zzz|replace('a','b')
zzz|map('upper')|list
zzz|selectattr('a')|list
zzz|indent
zzz|truncate
zzz is defined
zzz is undefined
zzz is none
zzz is string
zzz is sequence
zzz is iterable
zzz is callable
zzz is mapping
zzz is number
zzz is in [1]
zzz in [1]
1 in zzz
zzz is odd
not zzz
d.zzz|default('q')
d.C|default('q')
d.C|default('q', true)
e|default('q', true)
e|default('q', boolean=true)
none|default('q')
n
t
n is none
n is not none
n == none
t == 1
1 == 1.0
1 == true
'1' == 1
[1,2] == [1,2]
(1,2) == [1,2]
(1,2)
(1,)
()
[]
{}
{'a':1,'b':[1,2]}
{1:2,'x':none,true:3}
{1.5:2}
{(1,2):3}
{[1]:3}
[1,2.0,'a',none,true,[],{}]
'it\'s'
['it\'s']
['"it\'s"']
['\n\t\\\x00\x7fé\u200b']
1 < 2 < 3
1 < 3 < 2
1 < 2 > 0
3 > 2 >= 2 != 1
1 < 'a'
'a' < 'b'
'A' < 'a'
[1,2] < [1,3]
(1,2) < (1,2,3)
none < 1
true < 2
x > 3 and y < 0
x > 3 or 1/0
not x > 3
not not x
0 or 'a'
'' and 'a'
1 and 0
'a' if x else 'b'
'a' if not x
('a' if not x) is defined
'a' if x > 10 else 'b' if x > 4 else 'c'
1 in [1,2]
3 not in [1,2]
'ell' in s
'' in s
1 in s
'a' in d
'zz' in d
[1] in d
1 in 5
(1,2) in [(1,2)]
not 1 in [1]
x is odd
x is even
x is divisibleby 5
x is divisibleby(3)
x is not divisibleby 3
4 is even
f is odd
s is odd
x is number
f is float
x is integer
t is integer
t is number
t is boolean
t is true
t is false
x is true
s is string
l is sequence
l is iterable
l is mapping
d is mapping
d is sequence
d is iterable
s is iterable
x is iterable
x is sequence
s is lower
'abc' is lower
'ABC' is upper
'123' is upper
x is sameas 5
none is sameas none
x is eq 5
x is equalto(5)
x is == 5
x is ne 4
x is lt 6
x is gt(4)
x is ge 5
x is le 4
x is in [5]
x is in l
x is nosuchtest
x is filter
'upper' is filter
'nosuch' is filter
'odd' is test
range is callable
s.upper is callable
d.get is callable
x is callable
x is defined and y is defined
x is string or y is number
x is not string
[x is odd, y is odd]
x is divisibleby y
s.upper()
s.lower()
s.swapcase()
s.title()
s.capitalize()
s.strip()
ws.strip()
ws.lstrip()
ws.rstrip()
'xxabcxx'.strip('x')
'xyabcyx'.lstrip('xy')
'xyabcyx'.rstrip('xy')
s.strip(1)
s.split()
s.split(' ')
s.split('o')
s.split('o', 1)
s.split('o', maxsplit=1)
s.split(sep='l')
s.split('')
'a,b,,c'.split(',')
'a,b,,c'.rsplit(',', 1)
' a  b c '.split()
' a  b c '.split(none, 1)
' a  b c '.rsplit(none, 1)
''.split()
''.split(',')
ml.splitlines()
ml.splitlines(true)
s.startswith('Hell')
s.startswith(('x','H'))
s.startswith('World', 6)
s.endswith('ld')
s.endswith(['ld'])
s.endswith(('x','ld'))
s.replace('l','L')
s.replace('l','L',1)
s.replace('','-')
s.replace('','-',3)
s.replace('l')
u8.replace('ß','ss')
s.find('o')
s.find('o',5)
s.find('zz')
s.rfind('o')
u8.find('日')
s.index('W')
s.index('zz')
s.count('l')
s.count('')
s.count('o',5)
','.join(['a','b'])
','.join(['a',1])
','.join('abc')
','.join(d)
'abc'.isdigit()
'12'.isdigit()
'²'.isdigit()
'abc'.isalpha()
'日本'.isalpha()
'a1'.isalnum()
' \t'.isspace()
''.isspace()
'aB'.islower()
'AB1'.isupper()
'Ab Cd'.istitle()
'5'.zfill(3)
'-5'.zfill(4)
'+5'.zfill(1)
'abc'.removeprefix('a')
'abc'.removesuffix('c')
'abc'.removesuffix('x')
'ab'.center(7)
'ab'.center(6,'*')
'abc'.center(6,'*')
'abc'.center(7,'*')
'ab'.ljust(5,'.')~'|'
'ab'.rjust(5,'.')
'ab'.rjust(5,'..')
'a-b-c'.partition('-')
'a-b-c'.rpartition('-')
'abc'.partition('-')
'abc'.nosuch()
'abc'.nosuch
s.__class__
s.__class__.__mro__
d.__class__
'{} {}'.format(1,'a')
'{0} {1} {0}'.format(1,'a')
'{a} {b!r}'.format(a=1,b='x')
'{:>5}|{:<5}|{:^5}|'.format('a','b','c')
'{:05d} {:+d} {:x} {:#x} {:b} {:,}'.format(42,42,255,255,5,1234567)
'{:.2f} {:8.3f} {:e} {:g} {:%}'.format(3.14159,2.5,12345.678,0.0001,0.25)
'{:,.2f} {:_}'.format(1234567.891,1234567)
'{0.name} {0[name]} {1[0]}'.format(users[0], l)
'{{}} {}'.format(1)
'{} {1}'.format(1,2)
'{'.format(1)
'{}'.format()
'{!s:>4}'.format(1)
'{:{}}'.format('a', 5)
'{:>{w}}'.format('a', w=4)
'{:d}'.format('a')
'{:s}'.format(1)
'{} {} {}'.format(none,true,[1,'a'])
'{:5}'.format(true)
'{:5}|{:5}'.format(1.0,2)
'{:.3}'.format('abcdef')
'{:.3}'.format(3.0)
'{:*^9}'.format('mid')
'%s %d %r' % ('a', 5, 'b')
'%s' % 'x'
'%s' % 5
'%5.2f|%-5d|%05d|%+d' % (3.14159, 42, 42, 42)
'%x %X %o %#x %c %c %%' % (255,255,8,255,65,'b')
'%e %g %G' % (12345.678, 0.00001, 1e20)
'%(a)s %(b)d' % {'a':1,'b':2}
'%s %s' % ('a',)
'%s' % ('a','b')
'%d' % 'a'
'%d' % 3.7
'%i' % true
'%10s|%-10s|%.2s' % ('a','b','cdef')
'%*d' % (5, 42)
'%y' % 1
'abc' % ()
'abc' % 1
'abc' % [1]
'%s' % [1,2]
'%s' % none
d.get('a')
d.get('zz')
d.get('zz', 5)
d.get()
d.keys()
d.values()
d.items()
d.keys()|list
d.values()|list
d.pop('a')
d.pop
d.update({})
d.clear()
d.copy()
d.setdefault('a',1)
l.append(1)
l.append
l.index(1)
l.index(99)
l.count(1)
l.pop()
l.sort()
l.copy()
(1,2,1).count(1)
(1,2,1).index(2)
d.keys()|length
d.items()|first
d.keys()[0]
'a' in d.keys()
('a',2) in d.items()
d|length
d|list
d|first
d|last
d|join(',')
d|dictsort
d|dictsort(true)
d|dictsort(by='value')
{'b':1,'a':2}|dictsort(by='value')
{'b':1,'a':2}|dictsort(reverse=true)
d|dictsort(false,'foo')
d|items|list
l|sort
l|sort(reverse=true)
l|sort(true)
ls|sort
ls|sort(case_sensitive=true)
ls|sort(false, true)
users|sort(attribute='name')|map(attribute='name')|list
users|sort(attribute='age,name')|map(attribute='name')|join(',')
users|sort(attribute='zz')
[1,'a']|sort
users|map(attribute='name')|list
users|map(attribute='zz')|list
users|map(attribute='address.city')|list
users|map(attribute='address.city', default='?')|list
users|map(attribute='zz', default='?')|list
users|map(attribute='tags.0')|list
users|map('length')|list
ls|map('upper')|list
ls|map('replace','A','x')|join
ls|map('default','q')|list
ls|map('nosuch')|list
ls|map(5)|list
[]|map('nosuch')|list
l|map('string')|join('-')
l|select('odd')|list
l|select|list
[0,1,none,'']|select|list
l|reject('odd')|list
[0,1,none,'']|reject|list
l|select('gt', 1)|list
l|select('>', 1)|list
l|select('==', 1)|list
l|select('in', [1,2])|list
l|select('divisibleby', 2)|list
l|select('nosuch')|list
users|selectattr('tags')|map(attribute='name')|list
users|selectattr('age','equalto',30)|map(attribute='name')|list
users|selectattr('age','lt',30)|map(attribute='name')|list
users|selectattr('name','string')|list|length
users|rejectattr('age','eq',30)|list|length
users|rejectattr('address')|list|length
users|selectattr('address','defined')|list|length
users|selectattr('address.city','defined')|list|length
users|selectattr()|list
users|selectattr('age')|first
users|selectattr('age')|length
users|selectattr('age')|last
users|selectattr('age')[0]
users|selectattr('nope')|first
users|selectattr('nope')|first is defined
users|selectattr('zz','eq',1)|list
l|first
l|last
[]|first
[]|last
s|first
s|last
l|max
l|min
[]|max
ls|max
ls|min
ls|max(case_sensitive=true)
users|max(attribute='age')
[1,'a']|max
l|sum
[1.5,2]|sum
users|sum(attribute='age')
users|sum('age', 10)
['a']|sum
[[1],[2]]|sum(start=[])
l|join
l|join(', ')
l|join(d=', ')
users|join(', ', attribute='name')
'abc'|join('-')
5|join
l|reverse|list
s|reverse
d|reverse|list
5|reverse
l|length
s|length
s|count
5|length
none|length
l|list
s|list
5|list
l|batch(2)|list
l|batch(2,'x')|list
l|batch(0)|list
l|slice(2)|list
l|slice(2,'x')|list
l|slice(5)|list
l|slice(0)|list
range(10)|batch(3)|list
range(10)|slice(3)|list
['a','A','b','a']|unique|list
['a','A','b','a']|unique(true)|list
users|unique(attribute='age')|map(attribute='name')|list
[1,1.0,true,2]|unique|list
[[1],[1]]|unique|list
users|groupby('age')
users|groupby('age')|map(attribute='grouper')|list
users|groupby('age')|map(attribute='list')|map('length')|list
users|groupby('address.city', default='none')|map('first')|list
[{'c':'CA'},{'c':'NY'},{'c':'ca'}]|groupby('c')
5|abs
-5|abs
(-5.5)|abs
'a'|abs
true|abs
42.55|round
42.55|round(1)
2.5|round
3.5|round
-2.5|round
0.5|round
1234.5678|round(2)
1234.5678|round(-2)
5|round
15|round(-1)
25|round(-1)
42.55|round(1,'floor')
42.55|round(1,'ceil')
42|round(0,'ceil')
42.1|round(method='ceil')
42.1|round(method='x')
'a'|round
42.55|round|int
'42'|int
'42.9'|int
' 42 '|int
'x'|int
'x'|int(7)
'x'|int(default=7)
'0x1f'|int(base=16)
'1f'|int(0,16)
'0b11'|int(base=2)
'0b11'|int(base=0)
'1_000'|int
'1__0'|int
'-5'|int
3.99|int
-3.99|int
true|int
none|int
[]|int
'inf'|int
'1e3'|int
'1.5'|float
'x'|float
'x'|float(1.5)
5|float
true|float
none|float
'inf'|float
'-infinity'|float
'nan'|float
' 1e5 '|float
'0x10'|float
1.5|string
none|string
[1]|string
s|lower
s|upper
s|capitalize
'foo bar-baz (qux)'|title
"it's o'clock"|title
"it's".title()
'foo123bar'|title
'FOO bar'|capitalize
5|upper
[1]|upper
none|capitalize
'  a '|trim
'xxaxx'|trim('x')
5|trim
none|trim
s|replace('o','0')
s|replace('o','0',1)
s|replace('o','0',count=1)
5|replace('5','6')
s|replace(1,2)
s|replace('o')
s|wordcount
'a-b c_d é'|wordcount
s|center(20)~'|'
s|center~'|'
s|truncate(5)
s|truncate(5,true)
s|truncate(5,false,'..',0)
s|truncate(5,true,'..',0)
s|truncate(2)
'foo bar baz qux'|truncate(9)
'foo bar baz qux'|truncate(9, True)
'foo bar baz qux'|truncate(11)
'foo bar baz qux'|truncate(11, False, '...', 0)
ml|indent
ml|indent(2)
ml|indent(2,true)
ml|indent(2,true,true)
ml|indent('>>')
ml|indent(width=1,first=true)
''|indent
'a'|indent
'a\n'|indent~'|'
5|indent
html|e
html|escape
html|e|e
html|forceescape
html|safe
html|safe|e
(html|safe) ~ '<'
(html|safe) + '<'
'<' + (html|safe)
html|e|upper
[html|e]
html|e|length
html|safe is escaped
html is escaped
'%s-%s'|format('a',1)
'%(a)s'|format(a=1)
'%s'|format('a', b=1)
'%s'|format
l|tojson
d|tojson
users|tojson
nested|tojson
nested|tojson(indent=2)
nested|tojson(indent='\t')
nested|tojson(true)
nested|tojson(indent=0)
{}|tojson(indent=2)
[]|tojson(indent=2)
[{}]|tojson(indent=2)
u8|tojson
u8|tojson(ensure_ascii=true)
'😀\x00\x1f\x7f"\\/\n'|tojson
'😀\x00\x1f\x7f"\\/\n'|tojson(ensure_ascii=true)
d|tojson(sort_keys=true)
{'b':1,'a':{'z':1,'y':2}}|tojson(sort_keys=true,indent=1)
{1:2,none:3,true:4,1.5:5}|tojson
{1:2,'a':3}|tojson(sort_keys=true)
{(1,2):3}|tojson
(1,2)|tojson
d|tojson(separators=(',',':'))
d|tojson(separators=[' , ',' : '],indent=1)
html|tojson
html|e|tojson
1.0|tojson
1e100|tojson
'inf'|float|tojson
'nan'|float|tojson
range(3)|tojson
d.keys()|tojson
l|map('string')|tojson
none|tojson
true|tojson
s.upper|tojson
range(5)
range(5)|list
range(2,5)|list
range(5,0,-2)|list
range(0,10,3)
range(3)[1]
range(10)[2:5]
range(10)[::-1]
range(0)|list
range(1,2,0)
range('a')
range(100001)
range(100000)|length
range()
range(3) == range(0,3)
2 in range(3)
range is defined
lipsum is defined
dict(a=1,b=2)
dict({'x':1},y=2)
dict([('a',1)])
dict([1])
dict([(1,2,3)])
dict()
namespace(a=1)
namespace(a=1).a
namespace(a=1).b
namespace(a=1)['a']
namespace({'a':1},b=2).b
namespace(_a=1)
namespace() is defined
namespace(a=1)|length
namespace() is mapping
namespace() is iterable
joiner()()
cycler(1,2).next()
cycler()
raise_exception('boom')
raise_exception()
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y %H:%M')
strftime_now('')
strftime_now('100%%')
strftime_now()
messages[0]['role']
messages[0].role
messages[-1].content[0].text
messages[2]['content'][1]['type']
messages[0]['content']|trim
messages|length
messages[1:]|length
messages[0]['nope'] is defined
messages[0].nope
messages[0].nope.more
messages|map(attribute='role')|join(' ')
messages|selectattr('role','equalto','user')|list|length
(messages|selectattr('role','equalto','user')|first).content
messages[1].content|e
messages[99]
messages[99].x
messages|tojson
l.0
l.1
l.9
s.0
d.0
'a'*3
3*'a'
'a'*0
'a'*-1
'a'*1.5
[1]*3
3*[1,2]
(1,2)*2
'a'*'b'
'a'+1
1+'a'
[1]+[2]
[1]+(2,)
(1,)+(2,)
{}+{}
none+1
true+true
true*5
-true
+none
-'a'
'a'-'b'
[1]-[1]
1.5+1
1-0.5
x/2
x*1.0
1e308*10
-(1e308*10)
2**0.5
0**0
0.0**-1
0**-1
10**18
big
big+0.0
big == 9007199254740992.0
big > 9007199254740992.0
9007199254740992 == 9007199254740992.0
not
1 +
(1
[1
{'a'
{'a':}
1 2
a b
'a' if
if
a.
a.'b'
a..b
a[
a[]
a[1:2:3:4]
a[1,2]
f(a=1,2)
f(*l,1)
f(**d,a=1)
f(**d,*l)
dict(**{'a':1})
dict(**d)
dict(*[[('a',1)]])
dict(a=1,a=2)
dict(a=1,**{'a':2})
range(*[1,4])|list
range(*[1],*[4])|list
dict(*[], a=1)
dict(a=1, *[])
x|nosuch
x|upper|nosuch
x|upper.foo
x is foo.bar
(x|nosuch) if false else 1
x if true else (x|nosuch)
1|
|x
x||y
1 = 2
!x
x & y
$x
x @ y
"unterminated
'\x4'
'\N{DASH}'
'\ud83d'|length
[1,2,][0]
{'a':1,}['a']
(1,2,)[0]
range(3,)|list
x is is y
x is string is string
x is string|upper
(x is string)|string
x|string is string
x == 5 is true
x + 5 is odd
-x is odd
x is odd ~ 'a'
not x is odd
x is divisibleby 2 + 1
x is divisibleby -5
x is in (1,5)
x is in [1,5] and true
loop
loop.index
caller
caller()
kwargs
varargs
True
False
None
TRUE
none.x
none.x.y
none[0]
true[0]
1[0]
(1)[0]
5.upper()
1.5.x
'a'.0
'abc'[1]
'abc'['x']
'abc'[1.5]
l[1.0]
l[true]
l['0']
l[none]
d[none]
d[1]
d[[1]]
d[1:2]
s['upper']()
d['get']('a')
(s|attr('upper'))()
d|attr('a')
x|attr('foo')
users[0]|attr('name')
'ﬁ ŉ ǰ ΐ Σ ΑΣ ΑΣΑ İ'.upper()
'ﬁ ŉ ǰ ΐ Σ ΑΣ ΑΣΑ İ'.lower()
'ﬁ ŉ ǰ ΐ Σ ΑΣ ΑΣΑ İ'.title()
'ﬁnd ǆ'.capitalize()
'ᾳ ᾀ ᾈ'.upper()
'ἀ҉ Ⅷ ⅷ ⓐ'.upper()
'ÀÉ'.lower()
'Ὀδυσσεύς ΟΔΥΣΣΕΥΣ'.lower()
'x\u2028y\x85z\x1cw'.splitlines()
'\u3000a\u2003'.strip()|length
'\u200ba'.strip()|length
'a\u0301'|length
'٣'.isdigit()
'Ⅷ'.isnumeric()
'½'.isnumeric()
'½'.isdigit()
'_a1'.isalnum()
'日本語'[1]
'日本語'[-2:]
'日本語'|list
'日本語'|reverse
'日本語'.center(7,'・')
'日本語'.find('語')
'%5s' % '日本'
'{:>5}'.format('日本')
'日本' < '日語'
['日','本']|sort
'\U0001f600' > '\uffff'
'a' is sameas 'a'
l is sameas l
[] is sameas []
1 is sameas 1.0
1 is sameas true
[x,y]|sum
{'a':x}.a
{'a':{'b':{'c':1}}}.a.b.c
[[1,2],[3,4]][1][0]
[1,2,3][1:][0]
(1,2,3)[-1]
'abc'.upper().lower()|upper
x|string|length
((((((x))))))
[[[[[[x]]]]]]
x if x else y if y else f
(x, y) == (5, -3)
x, y
x,
1.
.5
1e
1.e5
00
01
0_0
0x
0xg
1__0
1_
_
__x__
a1
é
日本
'a' in 'abc' in ['abc']
1 < 2 in [true]
1 == 1 == 1
1 != 1 == 1
not 1 == 2
x == 5 and y == -3 or false
x or y and false
(x or y) and false
true and not false
not true or true
x is odd and y is odd
s ~ '!' | upper
(s ~ '!') | upper
'a' + 'b' | upper
-1 | abs
1 + -1 | abs
2 * 3 ~ 4
2 ~ 3 * 4
1 + 2 ~ 3
1 ~ 2 + 3
s.split(' ')[1].lower()
s.split(' ')|last
(s.split(' ')|last).lower()
s.split(' ')|map('lower')|join('_')
messages|map(attribute='content')|select('string')|join('|')
messages|map(attribute='role')|unique|sort|list
messages|rejectattr('role','in',['system'])|map(attribute='role')|list
d|tojson|length
d|string|length
'</think>' in s
s.split('</think>')[-1].lstrip('\n')
('a</think>b').split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n')
'x'.join(s)
s|list|join
'a,b;c'|replace(',',';')|replace(';','-')
42|string|int + 1
'%03d'|format(7)
'%.3f'|format(1/3)
1/3
2/3
10/3
1e22
1e21
123456.789e3
5e-324
1.7976931348623157e308
-0.0
0.0 == -0.0
1e400
100.0
1e2
12345678.9
0.1
1.1
0.3
2.675|round(2)
1.005|round(2)
1e300|round(5)
('ab'*40 ~ 'c' ~ 'ab'*40).find('ab'*39 ~ 'c')
('ab'*40 ~ 'c' ~ 'ab'*40).rfind('b' ~ 'ab'*30)
('ab'*40 ~ 'c' ~ 'ab'*40).split('ab'*17)
('ab'*40 ~ 'c' ~ 'ab'*40).rsplit('ab'*17,2)
('ab'*40 ~ 'c' ~ 'ab'*40).count('ab'*17)
('ab'*40)|replace('ab'*20,'X')
('ab'*40) in ('ab'*39)
('é'*40 ~ 'x') in ('é'*100 ~ 'x')
('ab'*20).rfind('ab'*20)
('ab'*20).find('ba'*20)
('xab'*20).rindex('ab' ~ 'xab'*12)
('ab'*40).rpartition('ab'*18)
'''.strip("\n").split("\n")

STATEMENTS = r'''
{% for i in l %}{{ i }},{% endfor %}
{% for i in [] %}x{% else %}empty{% endfor %}
{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}
{% for i in l %}{{ loop.previtem }}-{{ loop.nextitem }};{% endfor %}
{% for i in l %}{{ loop.previtem is defined }}-{{ loop.nextitem is defined }};{% endfor %}
{% for i in l %}{{ loop.cycle('a','b') }}{% endfor %}
{% for i in l %}{{ loop.cycle() }}{% endfor %}
{% for i in [1,1,2,2,1] %}{{ loop.changed(i) }} {% endfor %}
{% for i in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}
{% for i in l %}{{ loop }}{% endfor %}
{% for i in l %}{{ loop|length }}{% endfor %}
{% for i in l %}{{ loop.nosuch }}{% endfor %}
{% for i in l if i > 1 %}{{ i }}:{{ loop.index }}/{{ loop.length }} {% endfor %}
{% for i in l if i > 5 %}x{% else %}none{% endfor %}
{% for i in l if i > 1 %}{{ loop.last }}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in d %}{{ k }};{% endfor %}
{% for k, v in d|dictsort %}{{ k }}={{ v }};{% endfor %}
{% for a, b in [(1,2),(3,4)] %}{{ a }}{{ b }}{% endfor %}
{% for a, b in [(1,2,3)] %}{{ a }}{% endfor %}
{% for a, b in [1] %}{{ a }}{% endfor %}
{% for (a, b), c in [((1,2),3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for a, in [(1,)] %}{{ a }}{% endfor %}
{% for a, b in ['xy','zw'] %}{{ a }}{{ b }}{% endfor %}
{% for c in 'héy' %}[{{ c }}]{% endfor %}
{% for c in 5 %}{% endfor %}
{% for c in none %}{% endfor %}
{% for c in zzz %}x{% else %}E{% endfor %}
{% for i in range(3) %}{% for j in range(2) %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{{ loop.index }}{% endfor %}
{% for i in range(3) %}{% set outer = loop %}{% for j in range(2) %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}
{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in range(5) %}{% if i == 3 %}{% continue %}{% endif %}{{ i }}{% endfor %}
{% for i in range(2) %}{% continue %}{% else %}E{% endfor %}
{% for i in range(2) %}{% break %}{% else %}E{% endfor %}
{% for i in range(2) %}{% if i %}{% break %}{% endif %}{% else %}E{% endfor %}
{% break %}
{% continue %}
{% for i in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{% for i in l %}{% set x %}a{% if i==1 %}{% break %}{% endif %}b{% endset %}{{ x }}{% endfor %}
{% for i in l %}{% filter upper %}a{% if i==1 %}{% continue %}{% endif %}b{% endfilter %}{% endfor %}
{% for i in range(3) %}{{ i }}{% set x = i %}{% endfor %}{{ x }}
{% set x = 1 %}{% for i in range(3) %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}
{% set ns = namespace(c=0) %}{% for i in l %}{% set ns.c = ns.c + i %}{% endfor %}{{ ns.c }}
{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns }}
{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}
{% set ns = namespace() %}{% set ns._a = 1 %}
{% set d.a = 1 %}
{% set zzz.a = 1 %}
{% set a = 1 %}{{ a }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}
{% set a, b = b, a %}{{ a }}{{ b }}
{% set (a, b) = (1, 2) %}{{ a }}
{% set a = 1, 2 %}{{ a }}
{% set a %}x{{ 1 }}y{% endset %}{{ a }}{{ a|length }}
{% set a | upper %}xy{% endset %}{{ a }}
{% set a | replace('x','z') | upper %}xy{% endset %}{{ a }}
{% set a = a if a is defined else 'D' %}{{ a }}
{% set x = x + 1 %}{{ x }}
{% if x %}{% set q = 1 %}{% endif %}{{ q }}
{% if not x %}{% set x = 1 %}{% endif %}{{ x }}
{% if not x %}{% set q = 1 %}{% endif %}{{ q is defined }}
{% for i in l %}{{ x }}{% endfor %}{% set x = 9 %}{{ x }}
{{ x }}{% for i in l %}{{ x }}{% endfor %}{% set x = 9 %}{{ x }}
{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% set x = 9 %}{{ m() }}
{% macro m() %}{{ q }}{% endmacro %}{% set q = 9 %}{{ m() }}
{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1,3) }} {{ m(b=5,a=4) }} {{ m() }}
{% macro m(a, b=2) %}{{ a }}{% endmacro %}{{ m(1,2,3) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, c=2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}
{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1,2,3,z=4) }}
{% macro m() %}{{ varargs|length }}{% endmacro %}{{ m(1,z=4) }}
{% macro m(a, b) %}{{ a is defined }}{{ b is defined }}{% endmacro %}{{ m(1) }}
{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}
{% macro m(n) %}{{ n }}{% if n > 0 %}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(5) }}
{% macro m(a=b, b=1) %}{{ a }}{{ b }}{% endmacro %}{{ m() }}
{% macro m(a=1, b) %}{% endmacro %}
{% macro m() %}  x  {% endmacro %}[{{ m() }}][{{ m()|trim }}]
{% macro m() %}x{% endmacro %}{{ m }}{{ m.name }}{{ m.arguments }}
{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}body{% endcall %}
{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}
{% macro m() %}{% if caller %}{{ caller() }}{% else %}none{% endif %}{% endmacro %}{{ m() }}{% call m() %}B{% endcall %}
{% macro m(l) %}{% for i in l %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(i) m([1,2]) %}<{{ i }}>{% endcall %}
{% macro m() %}{{ caller(1) }}{% endmacro %}{% call m() %}B{% endcall %}
{% macro m() %}x{% endmacro %}{% call m() %}B{% endcall %}
{% macro a() %}[{{ b() }}]{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}
{% macro a() %}{% set z = 1 %}{{ z }}{% endmacro %}{{ a() }}{{ z }}
{% macro a(x) %}{{ x }}{% set x = 7 %}{{ x }}{% endmacro %}{{ a(1) }}{{ x }}
{% if true %}{% macro a() %}A{% endmacro %}{% endif %}{{ a() }}
{% for i in l %}{% macro a() %}{{ i }}{% endmacro %}{{ a() }}{% endfor %}
{% set ns = namespace() %}{% for i in l %}{% macro a() %}{{ i }}{% endmacro %}{% set ns.f = a %}{{ ns.f() }}{% endfor %}
{% macro m(caller) %}{{ caller() }}{% endmacro %}{% call m() %}x{% endcall %}
{% macro m(caller=none) %}{{ caller() }}{% endmacro %}{% call m() %}x{% endcall %}
{% call x() %}a{% endcall %}
{% call range %}a{% endcall %}
{% filter upper %}abc{{ s }}{% endfilter %}
{% filter replace('a','b')|upper %}abc{% endfilter %}
{% filter nosuch %}abc{% endfilter %}
{% filter upper %}{% set z = 1 %}{% endfilter %}{{ z is defined }}
{% with a = 1, b = x %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a }}
{% with a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}{% endwith %}
{% with x = 1 %}{{ x }}{% endwith %}{{ x }}
{% print x %}
{% print x, y %}
{% if x %}a{% elif y %}b{% else %}c{% endif %}
{% if zzz %}a{% elif y %}b{% else %}c{% endif %}
{% if zzz %}a{% elif zzz %}b{% else %}c{% endif %}
{% if zzz %}a{% endif %}
{% if x: %}a{% endif %}
{% if x, y %}a{% endif %}
{% if %}a{% endif %}
{% if x %}a
{% endif %}
{% for %}{% endfor %}
{% for i %}{% endfor %}
{% for i in %}{% endfor %}
{% for i in l %}
{% for i in l %}{% endif %}
{% for i in l %}{% else %}{% else %}{% endfor %}
{% for 1 in l %}{% endfor %}
{% for loop in l %}{% endfor %}
{% for i in l %}{% set loop = 1 %}{% endfor %}
{% for i in l %}{% if i %}{% set loop = 1 %}{% endif %}{% endfor %}
{% set loop = 5 %}{{ loop }}
{% set true = 1 %}
{% set 1 = 1 %}
{% set x.y.z = 1 %}
{% set a[0] = 1 %}
{% set a + b = 1 %}
{% set %}
{% set a = %}
{% set a = 1
{% nosuch %}
{% endfor %}
{% do x %}
{% trans %}a{% endtrans %}
{% for i in [[1,[2,[3]]]] recursive %}{% if i is iterable %}[{{ loop(i) }}]{% else %}{{ i }}{% endif %}{% endfor %}
{% for i in nested recursive %}({{ loop.depth }}{% if i is sequence and i is not string %}{{ loop(i) }}{% endif %}){% endfor %}
{% for i in l %}{{ loop(l) }}{% endfor %}
{% for i in l recursive %}{{ i }}{% else %}E{% endfor %}
{% for i in [] recursive %}{{ i }}{% else %}E{% endfor %}
{% for i in l recursive %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in l if i is defined recursive %}{{ i }}{% endfor %}
{% set g = l|map('string') %}{% for i in g %}{{ i }}{% endfor %}|{% for i in g %}{{ i }}{% endfor %}
{% set g = l|select('odd') %}{{ g|list }}{{ g|list }}
{% set g = l|select('odd') %}{{ 1 in g }}{{ 1 in g }}
{% set g = l|map('string') %}{{ g|first }}{{ g|first }}{{ g|list }}
{% set g = l|map('string') %}{% for i in g %}{{ i }}{% break %}{% endfor %}{{ g|list }}
{% set g = l|map('string') %}{% for i in g %}{{ loop.length }}{{ loop.last }}{% endfor %}
{% set g = []|map('string') %}{% if g %}T{% else %}F{% endif %}
{% set c = cycler('a','b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set _ = c.reset() %}{{ c.current }}
{% set j = joiner('|') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}
{% set ns = namespace(on=true) %}{% for i in range(5) if ns.on %}{{ i }}{% if i == 2 %}{% set ns.on = false %}{% endif %}{% endfor %}
{% set ns = namespace(on=true) %}{% for i in range(5) if ns.on %}{{ i }}{{ loop.last }}{% if i == 2 %}{% set ns.on = false %}{% endif %}{% endfor %}
{% set ns = namespace(on=true) %}{% for i in range(5) if ns.on %}{{ i }}{{ loop.length }}{% if i == 2 %}{% set ns.on = false %}{% endif %}{% endfor %}
{% generation %}abc{% endgeneration %}
x{% generation %}abc{{ x }}{% endgeneration %}y{% generation %}é{% endgeneration %}
{% for m in messages %}{{ m.role }}{% if m.role == 'user' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}
{% generation %}{% set q = 1 %}{% endgeneration %}{{ q }}
{% for i in l %}{% generation %}{{ loop.index }}{% break %}{% endgeneration %}{% endfor %}
{% for i in l %}{% generation %}{{ loop.index }}{% endgeneration %}{% endfor %}
{% macro m() %}zz{% generation %}G{% endgeneration %}{% endmacro %}a{{ m() }}
{% set a %}{% generation %}G{% endgeneration %}{% endset %}b{{ a }}
{% generation -%}  a  {%- endgeneration %}|
{% generation %}
{# c #}a{# d #}
{#- c -#} a {#- d -#} b
a {# multi
line #} b
{# unterminated
{{ unterminated
{% unterminated
{% raw %}{{ x }}{% if %}{% endraw %}
{% raw -%}  {{ x }}  {%- endraw %}|
{%- raw %} {{ x }}{% endraw -%} |
{% raw %}abc
{% raw %}{% raw %}{% endraw %}
{%+ raw %} a {%+ endraw %}
{{ '{{' }}{{ '{%' }}{{ "}}" }}
{{ {'a':{'b':1}}['a']['b'] }}
{{ {'a':{'b':1}} }}
{{- x -}}
a {{- x -}} b
a {{+ x }} b
a {{+ x +}} b
a {%- if x -%} b {%- endif -%} c
a {%+ if x +%} b {%+ endif +%} c
a {% if x %} b {% endif %} c
{%if x%}a{%endif%}
{{x}}{{ x}}{{x }}
{{
x
}}
{% if
x
%}a{% endif %}
}} %} #}
{ { x } }
{{ x }
{{ x %}
{% if x }}
{{ ) }}
{{ (] }}
{{ x }}}
{{ }}
{% %}
{{ x y }}
{{ "a" 
{{ x }}{{ 1/0 }}
a{{ raise_exception('stop ' ~ x) }}
{% include 'a' %}
{% import 'a' as b %}
{% extends 'a' %}
{% for m in messages %}{% if loop.first and m['role'] != 'system' %}S{% endif %}{{ '<|' + m['role'] + '|>' }}{% endfor %}
{% set content = messages[1].content %}{% for m in messages %}{% set content = m.content %}{% if content is string %}{{ content }}{% else %}{% for c in content %}{% if c.type == 'text' %}{{ c.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}{{ content }}
{%- set loop_messages = messages[1:] if messages[0]['role'] == 'system' else messages -%}{{ loop_messages|length }}
{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% endfor %}
{% for i in range(3) %}{{ loop.index }}{% endfor %}{{ loop }}
{% for i in l %}{% for j in l %}{{ loop.index }}{% else %}{{ loop.index }}{% endfor %}{% endfor %}
{% for i in l %}{% for j in [] %}{{ loop.index }}{% else %}{{ loop.index }}{% endfor %}{% endfor %}
{% for i in l %}{% for j in l if loop.index == 1 %}{{ j }}{% endfor %}{% endfor %}
{% for i in l if loop.index == 1 %}{{ i }}{% endfor %}
{% if x %}{{ x|nosuch }}{% endif %}
{% if zzz %}{{ x|nosuch }}{% endif %}ok
{% if zzz %}{{ x is nosuch }}{% endif %}ok
{% if zzz %}{% for i in l %}{{ x|nosuch }}{% endfor %}{% endif %}ok
{{ 1 if true else x|nosuch }}
{% macro m() %}{{ x|nosuch }}{% endmacro %}ok
{% if x %}{% set a = 1 %}{% else %}{% set a = 2 %}{% endif %}{{ a }}
{% for i in l %}{% if loop.first %}{% set a = i %}{% endif %}{{ a }}{% endfor %}
{% set a = 'o' %}{% for i in l %}{% if loop.first %}{% set a = i %}{% endif %}{{ a }}{% endfor %}{{ a }}
{% set a = 'o' %}{% macro m() %}{% set a = 'i' %}{{ a }}{% endmacro %}{{ m() }}{{ a }}
{% set a = 'o' %}{% set b %}{% set a = 'i' %}{{ a }}{% endset %}{{ b }}{{ a }}
{% set a = 'o' %}{% call(x) (range) %}{% endcall %}
{{ range(3)|list }}{% set range = 5 %}{{ range }}
{% set range = 5 %}{{ range }}
{% for x in l %}{{ x }}{% endfor %}{{ x }}
{% for s in s.split() %}{{ s }}{% endfor %}{{ s }}
{% for l in l %}{{ l }}{% endfor %}{{ l }}
{% set x = [] %}{% for i in l %}{% set x = x + [i] %}{% endfor %}{{ x }}
{% set _ = x %}{{ _ }}
{% set dict2 = dict(a=1) %}{{ dict2.a }}{{ dict2 }}
{% macro m(**kw) %}{% endmacro %}
{% macro m(*a) %}{% endmacro %}
{% macro m(a,) %}{{ a }}{% endmacro %}{{ m(1) }}
{% macro m %}{% endmacro %}
{% macro true() %}{% endmacro %}
{% macro m(true) %}{% endmacro %}
{% set ns = namespace(l=[]) %}{% for i in l %}{% set ns.l = ns.l + [i*2] %}{% endfor %}{{ ns.l }}{{ ns.l|tojson }}
{% set ns = namespace(d={}) %}{% for i in l %}{% set ns.d = dict(ns.d, **{i|string: i}) %}{% endfor %}{{ ns.d }}
{% for a, b in d.items() if b %}{{ a }}{% endfor %}
{% for m in messages|selectattr('role','ne','system') %}{{ loop.index }}{{ m.role }}{{ loop.last }}{% endfor %}
{% for u in users|sort(attribute='age') %}{{ u.name }} {% endfor %}
{% for age, us in users|groupby('age') %}{{ age }}:{{ us|map(attribute='name')|join('+') }} {% endfor %}
{% for g in users|groupby('age') %}{{ g.grouper }}:{{ g.list|length }} {% endfor %}
{% for row in range(7)|batch(3,'-') %}{{ row|join }}/{% endfor %}
{% for i in range(3) -%} {{ i }} {%- endfor %}
{% for i in range(3) %} {{ i }} {% endfor %}
{% endif %}
{% else %}
{% if x %}{% else %}{% elif y %}{% endif %}
{% for i in range(200000) %}{% endfor %}
{{ 'a' * 100000000000 }}
{{ [0] * 100000000000 }}
'''.strip("\n").split("\n")

LAYOUTS = [
    "{{ 'a\\\nb' }}",
    'a\n{% if true %}\nb\n{% endif %}\nc\n',
    'a\n  {% if true %}\n  b\n  {% endif %}\n  c\n\n',
    '  {{ 1 }}\n  {{ 2 }}\n',
    '  {%- if true %}\n x\n{%- endif %}\n',
    '{% if true -%}\n\n  x\n{%- endif -%}\n\ny',
    '\n\n{# c #}\n\nx',
    'a  {# c #}\n  b',
    'a\r\nb\rc\r\n',
    '{% raw %}\n a\n{% endraw %}\n\nx',
    'x\n   {%+ if true %}\n y {% endif %}',
    'x {% if true +%}\n y\n{% endif +%}\nz',
    '{{ 1 -}}\n\n\n{{ 2 }}',
    '{{ 1 }}\n\n\n{{- 2 }}',
    '\t {% set a = 1 %}\t\nb',
    'a\n\t{# x #}\t\nb',
    "{{ 'x\r\ny' }}|{{ 'a\nb' }}",
    '{% for i in [1,2] %}\n  - {{ i }}\n{% endfor %}\nend\n\n',
    '{%- for i in [1,2] %}\n  - {{ i }}\n{%- endfor %}\nend',
    'x{#+ a +#}\ny',
    'x\n  {#- a -#}\n y',
    '  {% raw %}  x  {% endraw %}  y',
    'a\n  {%- raw -%} x {%- endraw -%}\n b',
    '\xa0\n\xa0{% if true %}x{% endif %}',
    'a\x0b{%- if true %}b{% endif %}',
    '{% if true %}\n\n\nx{% endif %}\n\n\n',
    '',
    '\n',
    '\n\n',
    '{{ 1 }}\n',
    '{% set a %}\n  x\n{% endset %}[{{ a }}]',
    '{% macro m() %}\n  x\n{% endmacro %}[{{ m() }}]',
    '    {% generation %}\n  a\n  {% endgeneration %}\nb',
    '{% if true %}a{% endif %}   \n   {% if true %}b{% endif %}   \n',
    '{#-#}x{# -#} y',
    '{#x-#}  y',
    "a {{- '' -}} b",
    '{%- if true -%}{%- endif -%}',
    'x\n  {{ 1 }}  {% if true %}\n y {% endif %}',
    'x\n  {{ 1 -}}\n  {% if true %}\n y {% endif %}',
    '{% raw -%}\n  {% endraw %}',
    '{% raw -%}\n   {% if %}\n  {% endraw %}z',
]

# Templates in the manner of the published ones.
TEMPLATES = {
    "marks": """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
    "marks with generation": """{% for m in messages %}{{ '<' ~ m.role ~ '>' }}
{% if m.role == 'assistant' %}
{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}
{% else %}{{ m.content }}{% endif %}

{% endfor %}""",
    "turns": """{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}
{% else %}{% set rest = messages %}{% set system = false %}{% endif %}
{% for message in rest %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate, not ' ~ message['role']) }}{% endif %}
{% if loop.index0 == 0 and system != false %}{% set content = '<<' + system + '>>\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}
{% if message['role'] == 'user' %}{{ bos_token + '[Q] ' + content.strip() + ' [/Q]' }}
{%- elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}
{% endfor %}""",
    "pictures": """{% set count = namespace(value=0) %}
{% for message in messages %}
{%- if loop.first and message.role != 'system' %}[system]{% endif -%}
{{ message.role | capitalize }}: {% if message.content is string %}{{ message.content }}{% else %}
{% for part in message.content %}
{%- if part.type == 'image' or 'image' in part or 'image_url' in part %}
{%- set count.value = count.value + 1 %}{% if number_pictures %}Picture {{ count.value }}: {% endif %}<image>
{%- elif part.type == 'text' %}{{ part.text }}{% endif %}
{%- endfor %}{% endif %}
<end>
{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}""",
    "pictures first": """{% for message in messages %}{{ message['role'].upper() + ': ' }}{# pictures first #}
{% for c in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}
{% for c in message['content'] | selectattr('type', 'equalto', 'text') %}{{ c['text'] + ' ' }}{% endfor %}{% endfor %}""",
    "tools": """{{- bos_token }}
{%- if not date is defined %}{% set date = strftime_now("%d %b %Y") if strftime_now is defined else "?" %}{% endif %}
{{- "Today: " + date + "\\n" }}
{%- macro kind(schema) %}
{%- if schema.type == 'array' %}list[{{ kind(schema['items']) }}]{% elif schema.type is string %}{{ {'string': 'str', 'integer': 'int'}[schema.type] | default('dict') }}{% elif schema.type is iterable %}{{ schema.type | join(' | ') }}{% else %}any{% endif %}
{%- endmacro %}
{%- if tools %}
{%- for tool in tools %}{%- set tool = tool.function %}
def {{ tool.name }}({% for name, schema in tool.parameters.properties | items %}{{ name }}: {{ kind(schema) }}{{ ", " if not loop.last }}{% endfor %})
{{ tool | tojson(indent=4) }}
{{ tool.description | indent(4, true) }}
{%- endfor %}{% endif %}
{%- for message in messages %}
{%- if message.tool_calls is defined and message.tool_calls is not none %}
{%- for call in message.tool_calls %}{%- set call = call.function if call.function is defined else call %}
<call>{"name": "{{ call.name }}", "arguments": {{ call.arguments if call.arguments is string else call.arguments | tojson }}}</call>
{%- set text = call | tojson %}{{ text[:-1] }}{% endfor %}
{%- elif message.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}<results>{% endif %}{{ message.content }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}</results>{% endif %}
{%- else %}
<{{ message.role }}>{{ message.content | trim }}{% endif %}
{%- endfor %}""",
    "reasoning": """{%- set ns = namespace(open=true, last=messages | length - 1) %}
{%- for message in messages[::-1] %}{%- set index = messages | length - 1 - loop.index0 %}
{%- if ns.open and message.role == 'user' and message.content is string and not (message.content.startswith('<r>') and message.content.endswith('</r>')) %}
{%- set ns.open = false %}{% set ns.last = index %}{% endif %}{% endfor %}
{%- for message in messages %}{% set content = message.content if message.content is string else '' %}{% set reason = '' %}
{%- if message.reasoning_content is string %}{% set reason = message.reasoning_content %}
{%- elif '</think>' in content %}
{%- set reason = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}
{{- '[' ~ message.role ~ ']' }}{% if loop.index0 > ns.last and reason %}{{ '<think>' + reason.strip('\\n') + '</think>' }}{% endif %}{{ content }}
{%- if message.thinking is defined %}({{ message.thinking | length }}){% endif %}{% endfor %}
{%- if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}""",
    "documents": """{% if documents %}{% for d in documents %}{{ loop.index }}. {{ d.title }}: {{ d['text'] | replace('\\n', ' ') | truncate(20) }}
{% endfor %}{% endif %}{{ messages | map(attribute='content') | select('string') | join(' / ') }}""",
}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def parts(*texts):
    return [{"type": "image"} if t is None else {"type": "text", "text": t} for t in texts]


SYSTEM = {"role": "system", "content": " Be  brief. "}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather <now>\nor 'later' & then", "parameters": {
    "type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "days": {"type": "integer"},
    "places": {"type": "array", "items": {"type": "string"}}, "either": {"type": ["string", "null"]}, "more": {"type": "object"}}}}}]
CALL = [{"id": "abcdefghi", "function": {"name": "weather", "arguments": {"city": "K\u00f6ln", "days": 3, "f": 1.5, "n": None}}}]
TOOL = {"role": "tool", "content": "22 \u00b0C"}
CONVERSATIONS = [
    {"messages": [user(" Hi there \n")], "add_generation_prompt": True},
    {"messages": [SYSTEM, user("a"), assistant(" b "), user("c \u65e5\u672c \U0001f600")], "add_generation_prompt": True},
    {"messages": [user("a"), user("b")]},
    {"messages": []},
    {"messages": [user("a"), assistant("<think>\nhm\n</think>\n\nyes"), user("d"), assistant("<think>\nlast\n</think>\n\nok")],
     "add_generation_prompt": True, "extra": {"enable_thinking": False}},
    {"messages": [user("a"), assistant("b", reasoning="why"), user("c"), assistant("d", thinking="how")]},
    {"messages": [user("w?"), assistant(None, tool_calls=CALL), TOOL, TOOL, assistant("It is 22")], "tools": TOOLS},
    {"messages": [user(parts("a", None, "b", None)), assistant(parts("answer"))], "extra": {"number_pictures": True}},
    {"messages": [user("q")], "documents": [{"title": "One", "text": "line\nline two is longer"}, {"title": "Two", "text": "x"}],
     "extra": {"date": "today", "bos_token": "<other>"}},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def in_bytes(text, spans):
    return [[len(text[:a].encode()), len(text[:b].encode())] for a, b in spans]


def render(template):
    try:
        compiled = reference._cached_compile_jinja_template(template)
        blocks, spans = [], []
        with compiled.environment.activate_tracker(blocks, spans):
            for block in compiled.generate(**json.loads(json.dumps(CONTEXT))):
                blocks.append(block)
        text = "".join(blocks)
        return [template, text, in_bytes(text, spans)] if spans else [template, text]
    except Exception:
        return [template, None]


def render_chat(template, c):
    arguments = {**TOKENS, **c.get("extra", {})}
    try:
        texts, spans = reference.render_jinja_template(
            [c["messages"]], tools=c.get("tools"), documents=c.get("documents"), chat_template=template,
            add_generation_prompt=c.get("add_generation_prompt", False), return_assistant_tokens_mask=True, **arguments)
        return [texts[0], in_bytes(texts[0], spans[0])]
    except Exception:
        return None


def main():
    cases = [render("{{ " + e + " }}") for e in EXPRESSIONS] + [render(t) for t in STATEMENTS + LAYOUTS]
    wrong = [c for c in cases if c[1] is not None and " object at 0x" in c[1]]
    if wrong:
        sys.exit("renders to an address: %r" % wrong[0][0])
    chats = [[render_chat(t, c) for c in CONVERSATIONS] for t in TEMPLATES.values()]
    with open(OUT, "w", encoding="utf-8") as f:
        head = {"transformers": transformers.__version__, "jinja2": jinja2.__version__, "now": NOW, "context": CONTEXT,
                "tokens": TOKENS, "conversations": CONVERSATIONS, "templates": list(TEMPLATES.values())}
        f.write(json.dumps(head, ensure_ascii=False)[:-1] + ',\n"chats": ' + json.dumps(chats, ensure_ascii=False) + ',\n"cases": [\n')
        f.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "]}\n")
    print("%d cases (%d refused), %d chats" % (len(cases), sum(c[1] is None for c in cases), sum(map(len, chats))))


main()
