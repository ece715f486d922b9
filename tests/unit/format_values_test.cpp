// SPDX-License-Identifier: GPL-2.0-or-later
//
// Values of marks: what is read, what is refused, and that reading gives what was written.
#include <linux/fs.h>

#include <catch2/catch_test_macros.hpp>
#include <climits>

#include "format/index_name.h"
#include "format/link_count.h"
#include "format/metacopy.h"
#include "format/protection.h"
#include "format/redirect.h"

namespace plyfs::format {

TEST_CASE("a redirect is one name or an absolute path", "[format]") {
    const Redirect name = parse_redirect("old name").value();
    CHECK_FALSE(name.absolute);
    CHECK(name.components == std::vector<std::string>{"old name"});
    const Redirect path = parse_redirect("/a/.b/c\n\xff").value();
    CHECK(path.absolute);
    CHECK(path.components == std::vector<std::string>{"a", ".b", "c\n\xff"});
    CHECK(encode(name).value() == "old name");
    CHECK(encode(path).value() == "/a/.b/c\n\xff");
    CHECK(encode(relative_redirect(*Name::from("n"))).value() == "n");
}

TEST_CASE("what leads elsewhere is no redirect", "[format]") {
    for (const std::string text : {"", "/", "//", "a/b", "a/", "/a/", "//a", "/a//b", ".", "..",
                                   "/..", "/a/../b", "/./a", "/a/."}) {
        INFO(text);
        CHECK(parse_redirect(text).error() == EINVAL);
    }
    CHECK(parse_redirect(std::string("a\0b", 3)).error() == EINVAL);
    CHECK(parse_redirect(std::string("/a\0", 3)).error() == EINVAL);
    CHECK(parse_redirect(std::string(NAME_MAX + 1, 'a')).error() == ENAMETOOLONG);
    CHECK(parse_redirect("/a/" + std::string(NAME_MAX + 1, 'a')).error() == ENAMETOOLONG);
}

TEST_CASE("a redirect is written up to the kernel's limit, and read beyond it", "[format]") {
    const std::string name(127, 'n');
    const std::string fits = '/' + name + '/' + name;
    CHECK(encode(parse_redirect(fits).value()).value() == fits);
    const Redirect longer = parse_redirect(fits + "/n").value();
    CHECK(encode(longer).error() == ENAMETOOLONG);
    CHECK(encode(longer, PATH_MAX).value() == fits + "/n");
}

TEST_CASE("a metacopy without digest is empty", "[format]") {
    CHECK(encode(Metacopy{}).value().empty());
    CHECK(parse_metacopy("").value() == Metacopy{});
    CHECK(parse_metacopy(std::string("\0\x04\0\0", 4)).value() == Metacopy{});
}

TEST_CASE("a metacopy has overlayfs's layout", "[format]") {
    const Metacopy metacopy{.flags = 0, .digest_algorithm = 1, .digest = std::string(32, 'd')};
    const std::string value = encode(metacopy).value();
    CHECK(value == std::string("\0\x24\0\x01", 4) + std::string(32, 'd'));
    CHECK(parse_metacopy(value).value() == metacopy);
    CHECK(encode(Metacopy{.flags = 0, .digest_algorithm = 1, .digest = std::string(65, 'd')})
              .error() == EINVAL);
}

TEST_CASE("data whose metacopy is not understood are not to be had", "[format]") {
    CHECK(parse_metacopy("y").error() == EIO);
    CHECK(parse_metacopy(std::string("\0\x03\0", 3)).error() == EIO);
    CHECK(parse_metacopy(std::string("\x01\x04\0\0", 4)).error() == EIO);
    CHECK(parse_metacopy(std::string("\0\x05\0\0", 4)).error() == EIO);
    CHECK(parse_metacopy(std::string("\0\x04\0\0d", 5)).error() == EIO);
    CHECK(parse_metacopy(std::string("\0\x45\0\x01", 4) + std::string(65, 'd')).error() == EIO);
}

TEST_CASE("a link count is relative to one of the two inodes", "[format]") {
    using Base = LinkCount::Base;
    CHECK(parse_link_count("U+1") == LinkCount{Base::Upper, 1});
    CHECK(parse_link_count("L-2") == LinkCount{Base::Lower, -2});
    CHECK(parse_link_count("L+0") == LinkCount{Base::Lower, 0});
    CHECK(encode(LinkCount{Base::Upper, 1}) == "U+1");
    CHECK(encode(LinkCount{Base::Lower, 0}) == "L+0");
    CHECK(encode(LinkCount{Base::Lower, -12}) == "L-12");
    CHECK(encode(LinkCount{Base::Upper, INT_MIN}) == "U-2147483648");
    CHECK(parse_link_count("U-2147483648") == LinkCount{Base::Upper, INT_MIN});
    for (const char* const text : {"", "U", "U+", "U1", "X+1", "u+1", "U+-1", "U--1", "U+1x",
                                   "U+ 1", "U+1\n", "U+2147483648", "U+00000000001", "U+0x1"}) {
        INFO(text);
        CHECK_FALSE(parse_link_count(text));
    }
}

TEST_CASE("what a link count shows is at least one name", "[format]") {
    using Base = LinkCount::Base;
    CHECK(shown_links({Base::Upper, -1}, 3, 9) == 2U);
    CHECK(shown_links({Base::Lower, +1}, 3, 9) == 10U);
    CHECK_FALSE(shown_links({Base::Upper, -3}, 3, 9));
    CHECK_FALSE(shown_links({Base::Upper, INT_MIN}, 3, 9));
    CHECK_FALSE(shown_links({Base::Upper, 1}, UINT_MAX, 9));
    CHECK(link_count(Base::Upper, 2, 3) == LinkCount{Base::Upper, -1});
    CHECK(link_count(Base::Lower, 5, 3) == LinkCount{Base::Lower, 2});
}

TEST_CASE("names in the index are records in hexadecimal", "[format]") {
    HandleRecord record;
    record.type = 1;
    record.uuid.fill(0xab);
    record.handle = "\x01\xfe";
    const std::string name = index_name(record).value();
    CHECK(name == "00fb170001"
                  "abababababababababababababababab"
                  "01fe");
    CHECK(parse_index_name(name).value() == record);
    CHECK(parse_index_name("00FB170001ABABABABABABABABABABABABABABABAB01FE").value() == record);

    CHECK(parse_index_name("").error() == EINVAL);
    CHECK(parse_index_name("#2d").error() == EINVAL);
    CHECK(parse_index_name(name.substr(1)).error() == EINVAL);
    CHECK(parse_index_name(name.substr(2)).error() == EINVAL);
    CHECK(parse_index_name(name.substr(0, name.size() - 1)).error() == EINVAL);
    CHECK(parse_index_name(name.substr(0, name.size() - 1) + 'g').error() == EINVAL);

    record.handle = std::string(106, 'h');
    CHECK(index_name(record).value().size() == 254);
    record.handle += 'h';
    CHECK(index_name(record).error() == ENAMETOOLONG);
}

TEST_CASE("protection flags are letters", "[format]") {
    CHECK(parse_protection("a") == Protection{.append = true});
    CHECK(parse_protection("ia") == Protection{.append = true, .immutable = true});
    CHECK_FALSE(parse_protection(""));
    CHECK_FALSE(parse_protection("ax"));
    CHECK_FALSE(parse_protection(std::string("a\0", 2)));
    CHECK(encode(Protection{.append = true, .immutable = true}) == "ai");
    CHECK(encode(Protection{}).empty());
    const Protection immutable{.immutable = true};
    CHECK(flags_of(immutable) == FS_IMMUTABLE_FL);
    CHECK(protection_of_flags(FS_IMMUTABLE_FL | FS_NOATIME_FL) == immutable);
}

}  // namespace plyfs::format
