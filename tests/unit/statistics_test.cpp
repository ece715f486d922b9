// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/statistics.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "session/statistics_report.h"

namespace plyfs::session::test {
namespace {

constexpr std::uint32_t kLookup = 1;
constexpr std::uint32_t kOpen = 14;

using Catch::Matchers::WithinRel;

}  // namespace

TEST_CASE("latencies fall into buckets by powers of two", "[statistics]") {
    CHECK(latency_bucket(0) == 0);
    CHECK(latency_bucket(1) == 1);
    CHECK(latency_bucket(2) == 2);
    CHECK(latency_bucket(3) == 2);
    CHECK(latency_bucket(1023) == 10);
    CHECK(latency_bucket(1024) == 11);
    CHECK(latency_bucket(std::numeric_limits<std::uint64_t>::max()) == kLatencyBuckets - 1);
    for (std::size_t bucket = 1; bucket < kLatencyBuckets; ++bucket) {
        CAPTURE(bucket);
        CHECK(latency_bucket(latency_begin(bucket)) == bucket);
        CHECK(latency_bucket(latency_begin(bucket) - 1) == bucket - 1);
    }
}

TEST_CASE("quantiles are read from the buckets", "[statistics]") {
    LatencyBuckets buckets{};
    SECTION("none of nothing") {
        CHECK(latency_quantile(buckets, 0.5, 0) == 0);
    }
    SECTION("one request is all of them") {
        buckets[latency_bucket(1000)] = 1;
        CHECK(latency_quantile(buckets, 1, 1000) == 1000);
        CHECK(latency_quantile(buckets, 0.99, 1000) <= 1000);
        CHECK(latency_quantile(buckets, 0.01, 1000) >= 512);
    }
    SECTION("within a bucket they are spread evenly") {
        buckets[11] = 100;  // [1024, 2048)
        CHECK_THAT(latency_quantile(buckets, 0.5, 2047), WithinRel(1024 + 0.5 * 1023, 0.001));
        CHECK_THAT(latency_quantile(buckets, 0.25, 2047), WithinRel(1024 + 0.25 * 1023, 0.001));
    }
    SECTION("a slow one does not move the middle") {
        buckets[11] = 99;
        buckets[31] = 1;
        CHECK(latency_quantile(buckets, 0.5, 2'000'000'000) < 2048);
        CHECK(latency_quantile(buckets, 0.99, 2'000'000'000) <= 2048);
        CHECK(latency_quantile(buckets, 0.995, 2'000'000'000) > 1'000'000'000);
        CHECK(latency_quantile(buckets, 1, 2'000'000'000) == 2'000'000'000);
    }
    SECTION("the last bucket ends with the longest") {
        buckets[kLatencyBuckets - 1] = 1;
        const std::uint64_t longest = std::uint64_t{1} << 50;
        CHECK(latency_quantile(buckets, 1, longest) == static_cast<double>(longest));
    }
}

TEST_CASE("the counts of all threads are added up", "[statistics]") {
    Statistics statistics;
    constexpr std::size_t kThreads = 3;
    constexpr std::uint64_t kRounds = 10'000;
    {
        std::vector<std::jthread> threads;
        for (std::size_t count = 0; count < kThreads; ++count) {
            threads.emplace_back([&own = statistics.add_thread()] {
                for (std::uint64_t round = 0; round < kRounds; ++round) {
                    own.count(kLookup, 1000, round % 2 == 0);
                }
            });
        }
        // While they count: no number goes back.
        std::uint64_t before = 0;
        for (int round = 0; round < 100; ++round) {
            const std::uint64_t now = latency_count(statistics.requests()[kLookup].buckets);
            CHECK(now >= before);
            before = now;
        }
    }
    CHECK(statistics.threads() == kThreads);
    statistics.add_thread().count(kOpen, 7, false);
    statistics.add_thread().count(kOpen, 9, false);
    const AllRequestCounts requests = statistics.requests();
    CHECK(latency_count(requests[kLookup].buckets) == kThreads * kRounds);
    CHECK(requests[kLookup].errors == kThreads * kRounds / 2);
    CHECK(requests[kLookup].total == kThreads * kRounds * 1000);
    CHECK(requests[kLookup].longest == 1000);
    CHECK(requests[kOpen].total == 16);
    CHECK(requests[kOpen].longest == 9);
    CHECK(statistics.uptime().count() > 0);
}

TEST_CASE("requests without a name are counted together", "[statistics]") {
    Statistics statistics;
    ThreadStatistics& thread = statistics.add_thread();
    for (const std::uint32_t opcode : {0U, 7U, 19U, 54U, 4096U, 0xFFFFFFFFU}) {
        thread.count(opcode, 1, false);
    }
    CHECK(latency_count(statistics.requests()[0].buckets) == 6);
    const auto json = nlohmann::json::parse(requests_to_json(statistics.requests()));
    CHECK(json.size() == 1);
    CHECK(json.at("OTHER").at("count") == 6);
}

TEST_CASE("an error is noted for the request of its thread", "[statistics]") {
    CHECK_FALSE(take_error());
    note_error();
    bool by_another = true;
    std::thread([&] { by_another = take_error(); }).join();
    CHECK_FALSE(by_another);
    CHECK(take_error());
    CHECK_FALSE(take_error());
}

TEST_CASE("requests are reported without what never came", "[statistics]") {
    Statistics statistics;
    ThreadStatistics& thread = statistics.add_thread();
    thread.count(kLookup, 1000, true);
    thread.count(kLookup, 1, false);
    CHECK(requests_to_json(statistics.requests()) ==
          R"({"LOOKUP":{"count":2,"errors":1,"total_ns":1001,"max_ns":1000,)"
          R"("buckets":[[1,1],[10,1]]}})");
}

TEST_CASE("the fullest report fits an attribute", "[statistics]") {
    constexpr std::size_t kAttributeMaximum = std::size_t{64} << 10;  // XATTR_SIZE_MAX
    constexpr std::size_t kOtherMembers = 4096;
    AllRequestCounts requests{};
    for (RequestCounts& counts : requests) {
        counts.errors = 10'000'000'000;
        counts.total = counts.longest = 1'000'000'000'000'000'000;
        // A hundred years at a hundred requests a second, of every type and duration.
        counts.buckets.fill(300'000'000'000);
    }
    CHECK(requests_to_json(requests).size() < kAttributeMaximum - kOtherMembers);
}

}  // namespace plyfs::session::test
