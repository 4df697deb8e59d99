// Copyright the rlef authors. SPDX-License-Identifier: Apache-2.0
//
// An independent implementation of the checker interface of testlib.h, as competitive-programming
// checkers use it: ``checker input output answer``, verdict as exit status, message on stderr.
// It shares no code with testlib. No generators, validators, interactors or scorers.
#ifndef RLEF_TESTLIB_H
#define RLEF_TESTLIB_H

#include <algorithm>
#include <array>
#include <bitset>
#include <cassert>
#include <cctype>
#include <cerrno>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <queue>
#include <random>
#include <set>
#include <sstream>
#include <stack>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#define NORETURN [[noreturn]]
#define ensure(condition) __testlib_ensure((condition), "Condition failed: \"" #condition "\"")
#define _pc(points) (TResult(_partially + (points)))
enum TResult {
    _ok, _wa, _pe, _fail, _dirt, _points, _unexpected_eof = 8, _partially = 16
};
enum { OK_EXIT_CODE, WA_EXIT_CODE, PE_EXIT_CODE, FAIL_EXIT_CODE, POINTS_EXIT_CODE = 7,
       UNEXPECTED_EOF_EXIT_CODE };
enum TMode { _input, _output, _answer };
enum TTestlibMode { _unknown, _checker, _validator, _generator, _interactor, _scorer };

static const char LF = '\n', CR = '\r', SPACE = ' ', TAB = '\t';
static const int EOFC = 255;

// ---- characters and strings ----

template <class C> static inline bool isEof(C c) { return int(c) == EOFC || int(c) == EOF; }
template <class C> static inline bool isEoln(C c) { return c == LF || c == CR; }
template <class C> static inline bool isBlanks(C c) { return isEoln(c) || c == SPACE || c == TAB; }

static inline char lowerCase(char c) { return 'A' <= c && c <= 'Z' ? char(c - 'A' + 'a') : c; }
static inline char upperCase(char c) { return 'a' <= c && c <= 'z' ? char(c - 'a' + 'A') : c; }
static inline std::string lowerCase(std::string s) {
    for (char &c : s)
        c = lowerCase(c);
    return s;
}
static inline std::string upperCase(std::string s) {
    for (char &c : s)
        c = upperCase(c);
    return s;
}

/// printf into a string; the format may be a C string or a std::string.
template <class... A> std::string format(const std::string &form, A... values) {
    int length = std::snprintf(nullptr, 0, form.c_str(), values...);
    std::vector<char> text(size_t(std::max(length, 0)) + 1);
    std::snprintf(text.data(), text.size(), form.c_str(), values...);
    return std::string(text.data(), text.size() - 1);
}

template <class T> std::string vtos(const T &value) {
    std::ostringstream out;
    out << value;
    return out.str();
}
template <class T> std::string toString(const T &value) { return vtos(value); }

/// Without white space at both ends.
static inline std::string trim(const std::string &s) {
    size_t first = 0, last = s.size();
    while (first < last && isBlanks(s[first]))
        first++;
    while (last > first && isBlanks(s[last - 1]))
        last--;
    return s.substr(first, last - first);
}

/// A short form of a string, for messages.
static inline std::string compress(const std::string &s) {
    return s.size() <= 64 ? s : s.substr(0, 30) + "..." + s.substr(s.size() - 31);
}
static inline std::string __testlib_part(const std::string &s) { return compress(s); }

static inline std::string englishEnding(int x) {
    int tens = x / 10 % 10, ones = x % 10;
    if (tens == 1 || ones < 1 || ones > 3)
        return "th";
    return ones == 1 ? "st" : ones == 2 ? "nd" : "rd";
}

/// The pieces between separators, empty ones too.
static inline std::vector<std::string> split(const std::string &s, const std::string &separators) {
    std::vector<std::string> parts(1);
    for (char c : s)
        if (separators.find(c) != std::string::npos)
            parts.push_back("");
        else
            parts.back() += c;
    return parts;
}
static inline std::vector<std::string> split(const std::string &s, char separator) {
    return split(s, std::string(1, separator));
}

/// The pieces between separators that are not empty.
static inline std::vector<std::string> tokenize(const std::string &s, const std::string &separators)
{
    std::vector<std::string> parts = split(s, separators);
    parts.erase(std::remove(parts.begin(), parts.end(), std::string()), parts.end());
    return parts;
}
static inline std::vector<std::string> tokenize(const std::string &s, char separator) {
    return tokenize(s, std::string(1, separator));
}

template <class It, class S> std::string join(It first, It last, S separator) {
    std::ostringstream out;
    for (It it = first; it != last; ++it) {
        if (it != first)
            out << separator;
        out << *it;
    }
    return out.str();
}
template <class It> auto join(It first, It last) -> decltype(++first, *last, std::string()) {
    return join(first, last, ' ');
}
template <class C, class S>
auto join(const C &items, S separator) -> decltype(items.begin(), std::string()) {
    return join(items.begin(), items.end(), separator);
}
template <class C> std::string join(const C &items) {
    return join(items.begin(), items.end(), ' ');
}

// ---- the end of the program ----

struct TestlibFinalizeGuard {
    TTestlibMode mode = _unknown;
    int quitCount = 0;
    std::string report;  // path of the report file, if one is wanted
    int testCase = 0;
    bool hasTestCase = false;

    ~TestlibFinalizeGuard() {
        if (mode == _checker && quitCount == 0)
            fail("Checker must end with quit or quitf call.");
    }
    [[noreturn]] void fail(const std::string &message) {
        quitCount++;
        std::fflush(nullptr);
        std::fprintf(stderr, "FAIL %s\n", message.c_str());
        std::fflush(nullptr);
        std::_Exit(FAIL_EXIT_CODE);
    }
};
static TestlibFinalizeGuard testlibFinalizeGuard;

[[noreturn]] static inline void halt(int code) {
    testlibFinalizeGuard.quitCount++;
    std::exit(code);
}

// ---- patterns ----

/// A small regular expression that must match a whole string: characters, [sets], (groups), |, *,
/// +, ?, {n}, {from,to}, \ before a special character. A dot is a dot; a bare space is nothing.
class pattern {
public:
    pattern(const std::string &text) : source_(text) {
        for (size_t i = 0; i < text.size(); i++) {
            if (text[i] == '\\' && i + 1 < text.size())
                text_ += text[i++];
            else if (text[i] == SPACE)
                continue;
            text_ += text[i];
        }
        size_t at = 0;
        root_ = alternatives(at);
        if (at != text_.size())
            broken();
    }
    std::string src() const { return source_; }
    bool matches(const std::string &s) const {
        std::vector<size_t> ends = run(root_, s, {0});
        return !ends.empty() && ends.back() == s.size();
    }

private:
    enum Kind { SET, SEQUENCE, EITHER };
    struct Node {
        Kind kind = SEQUENCE;
        std::bitset<256> set;
        std::vector<Node> parts;
        size_t from = 1, to = 1;
    };
    typedef std::vector<size_t> Positions;  // ascending, without doubles
    static size_t many() { return std::numeric_limits<size_t>::max(); }

    [[noreturn]] void broken() const {
        testlibFinalizeGuard.fail("Illegal pattern: \"" + source_ + "\"");
    }
    char take(size_t &at) const {
        if (at >= text_.size())
            broken();
        return text_[at++];
    }
    bool next_is(size_t at, char c) const { return at < text_.size() && text_[at] == c; }

    Node alternatives(size_t &at) const {
        Node node;
        node.kind = EITHER;
        node.parts.push_back(sequence(at));
        while (next_is(at, '|')) {
            at++;
            node.parts.push_back(sequence(at));
        }
        return node;
    }
    Node sequence(size_t &at) const {
        Node node;
        while (at < text_.size() && text_[at] != '|' && text_[at] != ')') {
            node.parts.push_back(atom(at));
            counts(at, node.parts.back());
        }
        return node;
    }
    Node atom(size_t &at) const {
        char c = take(at);
        if (c == '(') {
            Node group = alternatives(at);
            if (take(at) != ')')
                broken();
            return group;
        }
        Node node;
        node.kind = SET;
        if (c == '[')
            node.set = characters(at);
        else if (c == '*' || c == '+' || c == '?' || c == '{' || c == '}' || c == ']')
            broken();
        else
            node.set.set((unsigned char)(c == '\\' ? take(at) : c));
        return node;
    }
    std::bitset<256> characters(size_t &at) const {
        std::bitset<256> set;
        bool inverse = next_is(at, '^');
        at += inverse;
        for (char c; (c = take(at)) != ']';) {
            unsigned first = (unsigned char)(c == '\\' ? take(at) : c), last = first;
            if (next_is(at, '-') && !next_is(at + 1, ']')) {
                at++;
                c = take(at);
                last = (unsigned char)(c == '\\' ? take(at) : c);
            }
            if (first > last)
                broken();
            for (unsigned i = first; i <= last; i++)
                set.set(i);
        }
        return inverse ? ~set : set;
    }
    void counts(size_t &at, Node &node) const {
        if (at >= text_.size() || std::strchr("*+?{", text_[at]) == nullptr)
            return;
        char c = take(at);
        node.from = c == '+' ? 1 : 0;
        node.to = c == '?' ? 1 : many();
        if (c != '{')
            return;
        bool given = number(at, node.from);
        c = take(at);
        if (c == '}' && given)
            node.to = node.from;
        else if (c != ',' || (number(at, node.to), take(at) != '}') || node.from > node.to)
            broken();
    }
    bool number(size_t &at, size_t &value) const {
        size_t start = at, read = 0;
        for (; at < text_.size() && std::isdigit((unsigned char)text_[at]); at++)
            read = std::min<size_t>(10 * read + size_t(text_[at] - '0'), 1u << 30);
        if (at > start)
            value = read;
        return at > start;
    }

    /// Where the node may end if it begins at one of the starts: linear where it repeats one set.
    static Positions run(const Node &node, const std::string &s, const Positions &starts) {
        if (node.kind == SET)
            return run_set(node, s, starts);
        Positions ends, now = starts;
        for (size_t count = 0; !now.empty(); count++) {
            if (count >= node.from) {
                Positions both = merge(ends, now);
                if (count > node.from && both == ends)
                    break;
                ends.swap(both);
            }
            if (count == node.to || (count > s.size() && count >= node.from))
                break;
            now = once(node, s, now);
        }
        return ends;
    }
    static Positions once(const Node &node, const std::string &s, const Positions &starts) {
        Positions ends = node.kind == SEQUENCE ? starts : Positions();
        for (const Node &part : node.parts)
            ends = node.kind == SEQUENCE ? run(part, s, ends) : merge(ends, run(part, s, starts));
        return ends;
    }
    static Positions run_set(const Node &node, const std::string &s, const Positions &starts) {
        Positions ends;
        size_t stop = 0, free = 0;  // stop: end of the run of fitting characters
        for (size_t start : starts) {
            for (stop = std::max(stop, start);
                 stop < s.size() && node.set[(unsigned char)s[stop]] && stop - start < node.to;)
                stop++;
            for (size_t end = std::max(start + node.from, free); end <= stop; end++, free = end)
                ends.push_back(end);
        }
        return ends;
    }
    static Positions merge(const Positions &a, const Positions &b) {
        Positions both;
        std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
        return both;
    }

    std::string source_, text_;  // text_: without spaces
    Node root_;
};

// ---- verdicts ----

/// Messages start with the number of the test case from now on.
static inline void setTestCase(int number) {
    testlibFinalizeGuard.testCase = number;
    testlibFinalizeGuard.hasTestCase = true;
}
static inline void unsetTestCase() { testlibFinalizeGuard.hasTestCase = false; }

static inline bool __testlib_isNaN(double x) { return x != x; }
static inline bool __testlib_isInfinite(double x) { return x - x != 0 && x == x; }

// ---- streams ----

/// One of the three files. Outside strict mode, readers skip white space as far as they can.
class InStream {
public:
    TMode mode = _input;
    bool strict = false, opened = false;
    std::string name;
    size_t maxTokenLength = 32 * 1024 * 1024, maxMessageLength = 32000;

    InStream() {}
    explicit InStream(TMode kind) : mode(kind) {}
    /// Reads from a text; errors count as those of the other stream.
    InStream(const InStream &base, const std::string &content)
        : mode(base.mode), strict(base.strict), opened(true), name(base.name), data_(content)
    {
    }

    void init(const std::string &path, TMode kind) {
        mode = kind;
        name = path;
        std::FILE *file = std::fopen(path.c_str(), "rb");
        if (file != nullptr) {
            load(file);
            std::fclose(file);
        } else
            quit(_pe, (kind == _input    ? "Input"
                       : kind == _output ? "Output"
                                         : "Answer") +
                          (" file not found: \"" + path + "\""));
    }
    void init(std::FILE *file, TMode kind) {
        mode = kind;
        name = "untitled";
        load(file);
    }
    void reset() { at_ = 0, beyond_ = false; }
    void close() { opened = false; }
    void skipBom() {
        if (at_ == 0 && data_.compare(0, 3, "\xEF\xBB\xBF") == 0)
            at_ = 3;
    }

    // characters

    bool eof() { return at_ >= data_.size(); }
    char curChar() { return eof() ? char(EOFC) : data_[at_]; }
    char nextChar() {
        beyond_ = eof();
        return beyond_ ? char(EOFC) : data_[at_++];
    }
    char readChar() { return nextChar(); }
    char readChar(char wanted) {
        bool end = eof();
        char found = nextChar();
        if (end || found != wanted)
            quit(_pe, "Unexpected " + (end ? "end of file" : "character " + shown(found)) +
                          ", but " + shown(wanted) + " expected");
        return found;
    }
    void skipChar() { nextChar(); }
    void unreadChar(char c) {
        if (beyond_)
            beyond_ = false;
        else if (at_ > 0)
            data_[--at_] = c;
        else
            data_.insert(data_.begin(), c);
    }
    char readSpace() { return readChar(SPACE); }
    void skipBlanks() {
        while (!eof() && isBlanks(data_[at_]))
            at_++;
    }
    bool seekEof() {
        skipBlanks();
        return eof();
    }
    /// Whether a line ends here; if so, moves to the next one.
    bool eoln() {
        if (eof())
            return !strict;
        bool wide = !strict && data_.compare(at_, 2, "\r\n") == 0;
        if (!wide && data_[at_] != LF)
            return false;
        at_ += wide ? 2 : 1;
        return true;
    }
    bool seekEoln() {
        while (!eof() && (data_[at_] == SPACE || data_[at_] == TAB))
            at_++;
        return eoln();
    }
    void readEoln() {
        if (!eoln())
            quit(_pe, "Expected EOLN");
    }
    void readEof() {
        if (!eof())
            quit(_pe, "Expected EOF");
    }
    void nextLine() { readLine(); }

    // words and lines

    void readWordTo(std::string &result) { takeWord(result, "token"); }
    void takeWord(std::string &result, const char *kind) {
        if (!strict)
            skipBlanks();
        if (eof())
            quit(_unexpected_eof, std::string("Unexpected end of file - ") + kind + " expected");
        size_t start = at_;
        while (!eof() && !isBlanks(data_[at_]))
            at_++;
        if (at_ == start)
            quit(_pe, "Unexpected white-space - token expected");
        if (at_ - start > maxTokenLength)
            quit(_pe, "Length of token exceeds " + vtos(maxTokenLength) + ", token is '" +
                          data_.substr(start, 64) + "...'");
        result.assign(data_, start, at_ - start);
    }
    void readWordTo(std::string &result, const pattern &p, const std::string &variable = "") {
        readWordTo(result);
        expect(p, "Token", result, variable);
    }
    void readStringTo(std::string &result) {
        if (strict && eof())
            quit(_pe, "Expected line");
        size_t end = std::min(data_.find(LF, at_), data_.size());
        if (strict && end < data_.size() && end > at_ && data_[end - 1] == CR)
            end--;  // and then it is not the end of a line
        result.assign(data_, at_, end - at_);
        if (!strict)
            result.erase(std::remove(result.begin(), result.end(), CR), result.end());
        at_ = end;
        strict ? readEoln() : void(eoln());
    }
    void readStringTo(std::string &result, const pattern &p, const std::string &variable = "") {
        readStringTo(result);
        expect(p, "Line", result, variable);
    }

#define TESTLIB_TEXT(ONE, MANY, TO, WORK, SPACED)                                                  \
    std::string ONE() { std::string result; WORK(result); return result; }                         \
    std::string ONE(const pattern &p, const std::string &variable = "")                            \
    { std::string result; WORK(result, p, variable); return result; }                              \
    std::string ONE(const std::string &p, const std::string &variable = "")                        \
    { return ONE(compiled(p), variable); }                                                         \
    void TO(std::string &result, const std::string &p, const std::string &variable = "")           \
    { WORK(result, compiled(p), variable); }                                                       \
    std::vector<std::string> MANY(int size, int indexBase = 1)                                     \
    { return readMany<std::string>(size, indexBase, [&] { return ONE(); }, SPACED); }              \
    std::vector<std::string> MANY(int size, const pattern &p, const std::string &variables = "",   \
                                  int indexBase = 1)                                               \
    { return readMany<std::string>(size, indexBase, [&] { return ONE(p, variables); }, SPACED); }  \
    std::vector<std::string> MANY(int size, const std::string &p,                                  \
                                  const std::string &variables = "", int indexBase = 1)            \
    { return MANY(size, pattern(compiled(p)), variables, indexBase); }
#define TESTLIB_TO(ALIAS, WORK)                                                                    \
    void ALIAS(std::string &result) { WORK(result); }                                              \
    void ALIAS(std::string &result, const pattern &p, const std::string &variable = "")            \
    { WORK(result, p, variable); }
    TESTLIB_TEXT(readWord, readWords, readWordTo, readWordTo, true)
    TESTLIB_TEXT(readToken, readTokens, readTokenTo, readWordTo, true)
    TESTLIB_TEXT(readString, readStrings, readStringTo, readStringTo, false)
    TESTLIB_TEXT(readLine, readLines, readLineTo, readStringTo, false)
    TESTLIB_TO(readTokenTo, readWordTo)
    TESTLIB_TO(readLineTo, readStringTo)
#undef TESTLIB_TEXT
#undef TESTLIB_TO

    // numbers

    int readInteger();
    long long readLong();
    unsigned long long readUnsignedLong();
    double readDouble();
    double readStrictDouble(double low, double high, int minDigits, int maxDigits,
                            const std::string &variable = "");
    int readInt() { return readInteger(); }
    double readReal() { return readDouble(); }
    double readStrictReal(double low, double high, int minDigits, int maxDigits,
                          const std::string &variable = "") {
        return readStrictDouble(low, high, minDigits, maxDigits, variable);
    }

#define TESTLIB_NUMBERS(T, KIND, ONE, MANY)                                                        \
    T ONE(T low, T high, const std::string &variable = "")                                         \
    { return within(KIND, static_cast<T>(ONE()), low, high, variable); }                           \
    std::vector<T> MANY(int size, T low, T high, const std::string &variables = "",                \
                        int indexBase = 1)                                                         \
    { return readMany<T>(size, indexBase, [&] { return ONE(low, high, variables); }); }            \
    std::vector<T> MANY(int size, int indexBase = 1)                                               \
    { return readMany<T>(size, indexBase, [&] { return ONE(); }); }
    TESTLIB_NUMBERS(int, "Integer", readInteger, readIntegers)
    TESTLIB_NUMBERS(int, "Integer", readInt, readInts)
    TESTLIB_NUMBERS(long long, "Integer", readLong, readLongs)
    TESTLIB_NUMBERS(unsigned long long, "Unsigned integer", readUnsignedLong, readUnsignedLongs)
    TESTLIB_NUMBERS(double, "Double", readDouble, readDoubles)
    TESTLIB_NUMBERS(double, "Double", readReal, readReals)
#undef TESTLIB_NUMBERS
    std::vector<double> readStrictDoubles(int size, double low, double high, int minDigits,
                                          int maxDigits, const std::string &variables = "",
                                          int indexBase = 1) {
        return readMany<double>(size, indexBase, [&] {
            return readStrictDouble(low, high, minDigits, maxDigits, variables);
        });
    }
    std::vector<double> readStrictReals(int size, double low, double high, int minDigits,
                                        int maxDigits, const std::string &variables = "",
                                        int indexBase = 1) {
        return readStrictDoubles(size, low, high, minDigits, maxDigits, variables, indexBase);
    }

    // verdicts

    [[noreturn]] void quit(TResult result, const std::string &message);
    [[noreturn]] void quits(TResult result, const std::string &message) { quit(result, message); }
    template <class... A>
    [[noreturn]] void quitf(TResult result, const std::string &form, A... values) {
        quit(result, format(form, values...));
    }
    template <class... A>
    void quitif(bool condition, TResult result, const std::string &form, A... values) {
        if (condition)
            quit(result, format(form, values...));
    }

private:
    std::string data_;
    size_t at_ = 0;
    bool beyond_ = false;  // the last character taken was the end of file
    long long index_ = -1;  // of the element that a reader of many is at
    std::map<std::string, pattern> patterns_;

    std::string word(const char *kind) {
        std::string result;
        takeWord(result, kind);
        return result;
    }
    void load(std::FILE *file) {
        std::vector<char> block(1 << 16);
        data_.clear();
        for (size_t count; (count = std::fread(block.data(), 1, block.size(), file)) > 0;)
            data_.append(block.data(), count);
        at_ = 0;
        opened = true;
    }
    static std::string shown(char c) {
        bool plain = 32 <= c && c < 127;
        return plain ? std::string("'") + c + "'" : "#" + vtos(int((unsigned char)c));
    }
    const pattern &compiled(const std::string &text) {
        auto found = patterns_.find(text);
        if (found == patterns_.end())
            found = patterns_.insert(std::make_pair(text, pattern(text))).first;
        return found->second;
    }
    /// "Integer parameter [name=x]", "Token element a[3]" and the like.
    std::string described(const std::string &kind, const std::string &variable,
                          const char *more = "") const {
        if (index_ >= 0)
            return kind + " element " + variable + "[" + vtos(index_) + "]";
        return variable.empty() ? kind : kind + more + " [name=" + variable + "]";
    }
    void expect(const pattern &p, const char *kind, const std::string &text,
                const std::string &variable) {
        if (!p.matches(text))
            quit(_wa, described(kind, variable) + " equals to \"" + compress(text) +
                          "\", doesn't correspond to pattern \"" + p.src() + "\"");
    }
    template <class T>
    T within(const char *kind, T value, T low, T high, const std::string &variable) {
        if (value < low || value > high)
            quit(_wa, described(kind, variable, " parameter") + " equals to " + vtos(value) +
                          ", violates the range [" + vtos(low) + ", " + vtos(high) + "]");
        return value;
    }
    template <class T, class Read>
    std::vector<T> readMany(int size, int indexBase, Read read, bool spaced = true)
    {
        if (size < 0)
            quit(_fail, "Size should be non-negative");
        if (size > 100000000)
            quit(_fail, "Size should be at most 100000000");
        std::vector<T> result;
        for (int i = 0; i < size; i++) {
            index_ = (long long)i + indexBase;
            if (strict && spaced && i > 0)
                readSpace();
            result.push_back(read());
        }
        index_ = -1;
        return result;
    }
};

static InStream inf(_input), ouf(_output), ans(_answer);

inline void InStream::quit(TResult result, const std::string &text) {
    std::string message = text;
    if (message.size() > maxMessageLength)
        message = message.substr(0, maxMessageLength) + "...";
#ifndef ENABLE_UNEXPECTED_EOF
    if (result == _unexpected_eof)
        result = _pe;
#endif
    if (mode != _output && result != _fail) {  // the judges' own files are at fault
        result = _fail;
        message += " (" + name + ")";
    }
    bool accepts = result == _ok || result == _points || result >= _partially;
    if (accepts && testlibFinalizeGuard.mode == _checker && !ouf.seekEof()) {
        result = _pe;
        message = "Extra information in the output file";
    }
    std::replace(message.begin(), message.end(), '\0', '~');
    if (testlibFinalizeGuard.hasTestCase && result != _ok)
        message += " (test case " + vtos(testlibFinalizeGuard.testCase) + ")";
    std::string word;
    int code = 0;
    switch (result) {
    case _ok: word = "ok ", code = OK_EXIT_CODE; break;
    case _wa: word = "wrong answer ", code = WA_EXIT_CODE; break;
    case _pe:
    case _dirt: word = "wrong output format ", code = PE_EXIT_CODE; break;
    case _fail: word = "FAIL ", code = FAIL_EXIT_CODE; break;
    case _points: word = "points ", code = POINTS_EXIT_CODE; break;
    case _unexpected_eof: word = "unexpected eof ", code = UNEXPECTED_EOF_EXIT_CODE; break;
    default:
        if (result < _partially)
            quit(_fail, "What is the code ???");
        word = format("partially correct (%d) ", int(result - _partially));
        code = int(result - _partially);
    }
    std::string line = word + message + "\n";
    std::fwrite(line.data(), 1, line.size(), stderr);
    if (!testlibFinalizeGuard.report.empty()) {
        std::ofstream report(testlibFinalizeGuard.report.c_str(), std::ios::binary);
        report << line;
    }
    halt(code);
}

// ---- numbers in their strict form ----

/// Digits without needless zeros, -0 or a plus sign.
static inline bool __testlib_isInteger(const std::string &s, bool negative) {
    size_t first = negative && s[0] == '-' ? 1 : 0;
    if (s.size() == first || s.size() > 20)
        return false;
    for (size_t i = first; i < s.size(); i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return s[first] != '0' || s.size() == 1;
}

static inline long long stringToLongLong(InStream &in, const std::string &s) {
    errno = 0;
    long long value = __testlib_isInteger(s, true) ? std::strtoll(s.c_str(), nullptr, 10) : 0;
    if (errno != 0 || !__testlib_isInteger(s, true))
        in.quit(_pe, "Expected integer, but \"" + compress(s) + "\" found");
    return value;
}

static inline unsigned long long stringToUnsignedLongLong(InStream &in, const std::string &s) {
    errno = 0;
    bool fits = __testlib_isInteger(s, false);
    unsigned long long value = fits ? std::strtoull(s.c_str(), nullptr, 10) : 0;
    if (errno != 0 || !fits)
        in.quit(_pe, "Expected unsigned integer, but \"" + compress(s) + "\" found");
    return value;
}

/// Decimal notation with or without exponent; no nan, no hexadecimal digits.
static inline double stringToDouble(InStream &in, const std::string &s) {
    double value = 0;
    int length = 0;
    bool usual = s.find_first_not_of("0123456789.eE+-") == std::string::npos;
    if (!usual || std::sscanf(s.c_str(), "%lf%n", &value, &length) != 1 ||
        size_t(length) != s.size())
        in.quit(_pe, "Expected double, but \"" + compress(s) + "\" found");
    return value;
}

/// -?digits(.digits)? without needless leading zeros, with a number of digits after the point.
static inline double stringToStrictDouble(InStream &in, const std::string &s, int minDigits,
                                          int maxDigits) {
    if (minDigits < 0 || maxDigits < minDigits)
        in.quit(_fail, "stringToStrictDouble: wrong number of digits after the point");
    size_t first = s[0] == '-' ? 1 : 0, point = std::min(s.find('.'), s.size());
    std::string whole = s.substr(first, point - std::min(first, point));
    std::string digits = point < s.size() ? s.substr(point + 1) : "";
    const char *decimal = "0123456789";
    bool well = s.size() <= 1000 && !whole.empty() && (whole[0] != '0' || whole.size() == 1) &&
                (point == s.size() || !digits.empty()) &&
                (whole + digits).find_first_not_of(decimal) == std::string::npos;
    double value = well ? std::strtod(s.c_str(), nullptr) : 0;
    if (!well || __testlib_isInfinite(value) || (first == 1 && value >= 0))
        in.quit(_pe, "Expected strict double, but \"" + compress(s) + "\" found");
    if (int(digits.size()) < minDigits || int(digits.size()) > maxDigits)
        in.quit(_pe, "Expected strict double with number of digits after point in range [" +
                         vtos(minDigits) + "," + vtos(maxDigits) + "], but \"" + compress(s) +
                         "\" found");
    return value;
}

inline long long InStream::readLong() { return stringToLongLong(*this, word("int64")); }
inline unsigned long long InStream::readUnsignedLong() {
    return stringToUnsignedLongLong(*this, word("uint64"));
}
inline int InStream::readInteger() {
    std::string text = word("int32");
    long long value = stringToLongLong(*this, text);
    if (value < INT_MIN || value > INT_MAX)
        quit(_pe, "Expected int32, but \"" + compress(text) + "\" found");
    return int(value);
}
inline double InStream::readDouble() { return stringToDouble(*this, word("double")); }
inline double InStream::readStrictDouble(double low, double high, int minDigits, int maxDigits,
                                         const std::string &variable) {
    double value = stringToStrictDouble(*this, word("strict double"), minDigits, maxDigits);
    return within("Strict double", value, low, high, variable);
}

/// Whether a result is near enough to what is expected, absolutely or relatively.
static inline bool doubleCompare(double expected, double result, double maxError) {
    maxError += 1e-15;
    if (__testlib_isNaN(expected) || __testlib_isNaN(result))
        return __testlib_isNaN(expected) && __testlib_isNaN(result);
    if (__testlib_isInfinite(expected) || __testlib_isInfinite(result))
        return expected == result;
    if (std::fabs(result - expected) <= maxError)
        return true;
    double a = expected * (1.0 - maxError), b = expected * (1.0 + maxError);
    return std::min(a, b) <= result && result <= std::max(a, b);
}

/// The smaller of absolute and relative error.
static inline double doubleDelta(double expected, double result) {
    double absolute = std::fabs(result - expected);
    if (std::fabs(expected) <= 1e-9)
        return absolute;
    return std::min(absolute, std::fabs(absolute / expected));
}

// ---- what checkers call ----

[[noreturn]] static inline void quit(TResult result, const std::string &message) {
    ouf.quit(result, message);
}
template <class... A>
[[noreturn]] void quitf(TResult result, const std::string &form, A... values) {
    ouf.quit(result, format(form, values...));
}
template <class... A>
void quitif(bool condition, TResult result, const std::string &form, A... values) {
    if (condition)
        ouf.quit(result, format(form, values...));
}
template <class P, class... A>
[[noreturn]] void quitp(P points, const std::string &form = "", A... values) {
    double value = double(points);
    const char *fault = __testlib_isNaN(value)        ? "nan"
                        : __testlib_isInfinite(value) ? "infinite"
                        : value > 1e6                 ? "greater than 1E6"
                        : value < -1e6                ? "less than -1E6"
                                                      : nullptr;
    if (fault != nullptr)
        ouf.quit(_fail, std::string("Parameter 'points' can't be ") + fault);
    std::string number = format("%.10f", value);
    number.erase(number.find_last_not_of('0') + 1);
    if (number.back() == '.')
        number.pop_back();
    std::string message = format(form, values...);
    ouf.quit(_points, message.empty() ? number : number + " " + message);
}
template <class... A>
[[noreturn]] void quitpi(const std::string &info, const std::string &form = "", A... values) {
    if (info.find(' ') != std::string::npos)
        ouf.quit(_fail, "Parameter 'points_info' can't contain spaces");
    std::string message = format(form, values...);
    ouf.quit(_points, "points_info=" + info + (message.empty() ? "" : " " + message));
}

static inline void __testlib_ensure(bool condition, const std::string &message) {
    if (!condition)
        ouf.quit(_fail, message);
}
template <class... A> void ensuref(bool condition, const std::string &form, A... values) {
    if (!condition)
        ouf.quit(_fail, format(form, values...));
}
[[noreturn]] static inline void __testlib_fail(const std::string &message) {
    ouf.quit(_fail, message);
}

static inline std::string __testlib_shown(double value) { return format("%.12g", value); }
template <class T> std::string __testlib_shown(const T &value) { return compress(vtos(value)); }

template <class T, class... A>
[[noreturn]] void expectedButFound(TResult result, T expected, T found,
                                   const std::string &form = "", A... values) {
    std::string message = format(form, values...);
    ouf.quit(result, (message.empty() ? "" : message + ": ") + "expected '" +
                         __testlib_shown(expected) + "', but found '" +
                         __testlib_shown(found) + "'");
}

/// Names of the test set and group, where the judge gives them on the command line.
struct Checker {
    std::string testset_, group_;
    std::string testset() const { return testset_; }
    std::string group() const { return group_; }
};
static Checker checker;

static inline void registerTestlibCmd(int argc, char *argv[]) {
    testlibFinalizeGuard.mode = _checker;
    std::vector<std::string> paths;
    for (int i = 1; i < argc; i++) {
        std::string word = argv[i];
        if (word == "--testset" && i + 1 < argc)
            checker.testset_ = argv[++i];
        else if (word == "--group" && i + 1 < argc)
            checker.group_ = argv[++i];
        else
            paths.push_back(word);
    }
    if (paths.size() < 3 || paths.size() > 5)
        testlibFinalizeGuard.fail(
            "Program must be run with the following arguments: "
            "<input-file> <output-file> <answer-file> [<report-file>]");
    inf.init(paths[0], _input);
    ouf.init(paths[1], _output);
    ouf.skipBom();
    ans.init(paths[2], _answer);
    if (paths.size() > 3)
        testlibFinalizeGuard.report = paths[3];
}
template <class... A> void registerTestlib(int argc, A... paths) {
    std::string words[] = {"checker", paths...};
    std::vector<char *> argv;
    for (std::string &word : words)
        argv.push_back(&word[0]);
    registerTestlibCmd(std::min(argc, int(argv.size()) - 1) + 1, argv.data());
}
template <class... A> void setName(const std::string &, A...) {}
static inline void setAppesModeEncoding(const std::string &) {}

#define TESTLIB_ONLY_CHECKERS(NAME)                                                                \
    template <class... A> [[noreturn]] void NAME(A...)                                             \
    {                                                                                              \
        testlibFinalizeGuard.fail(#NAME ": this testlib.h serves checkers only");                  \
    }
TESTLIB_ONLY_CHECKERS(registerGen)
TESTLIB_ONLY_CHECKERS(registerValidation)
TESTLIB_ONLY_CHECKERS(registerInteraction)
TESTLIB_ONLY_CHECKERS(registerScorer)
#undef TESTLIB_ONLY_CHECKERS

// ---- random numbers ----

/// The same numbers in every run; not the sequence of testlib.
class random_t {
public:
    void setSeed(long long seed) { engine_.seed((unsigned long long)seed); }
    void setSeed(int argc, char *argv[]) {
        unsigned long long seed = 5489;
        for (int i = 1; i < argc; i++)
            for (const char *c = argv[i]; *c != 0; c++)
                seed = seed * 1000003 + (unsigned char)*c;
        engine_.seed(seed);
    }
    /// A number of [0, 1).
    double next() { return double(engine_() >> 11) / 9007199254740992.0; }
    /// A number of [0, n).
    template <class T> T next(T n) {
        if (!(n > 0))
            __testlib_fail("random_t::next(n): n must be positive");
        return below(n, std::is_floating_point<T>());
    }
    /// A number of [from, to], or of [from, to) where it has a fraction.
    template <class T, class U> typename std::common_type<T, U>::type next(T from, U to) {
        typedef typename std::common_type<T, U>::type V;
        if (V(to) < V(from))
            __testlib_fail("random_t::next(from, to): from must not exceed to");
        return between(V(from), V(to), std::is_floating_point<V>());
    }
    template <class C> auto any(const C &items) -> decltype(*items.begin()) {
        return *std::next(items.begin(), next((long long)(items.size())));
    }
    template <class It> auto any(It first, It last) -> decltype(*first) {
        return *std::next(first, next((long long)(std::distance(first, last))));
    }
    /// A permutation of first, first + 1, ...
    std::vector<int> perm(int size, int first = 0) {
        std::vector<int> result((size_t)size);
        std::iota(result.begin(), result.end(), first);
        for (int i = 1; i < size; i++)
            std::swap(result[(size_t)i], result[(size_t)next(i + 1)]);
        return result;
    }

private:
    std::mt19937_64 engine_{20240101};

    unsigned long long bounded(unsigned long long n) {  // n = 0: all 64 bits
        unsigned long long value = engine_(), skewed = n == 0 ? 0 : (0 - n) % n;
        while (value < skewed)
            value = engine_();
        return n == 0 ? value : value % n;
    }
    template <class T> T below(T n, std::true_type) { return T(next() * n); }
    template <class T> T below(T n, std::false_type) { return T(bounded((unsigned long long)n)); }
    template <class T> T between(T from, T to, std::true_type) {
        return from + below(to - from, std::true_type());
    }
    template <class T> T between(T from, T to, std::false_type) {
        unsigned long long width = (unsigned long long)to - (unsigned long long)from + 1;
        return T((unsigned long long)from + bounded(width));
    }
};
static random_t rnd;

template <class It> void shuffle(It first, It last) {
    for (auto i = std::distance(first, last); i > 1; i--)
        std::iter_swap(std::next(first, i - 1), std::next(first, rnd.next(i)));
}

#endif
