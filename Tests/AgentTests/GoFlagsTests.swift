import Testing

@testable import Agent

@Suite struct GoFlagsTests {
  private struct Box: Sendable {
    var flag = false
    var on = true
    var number = 7
    var text = "a\"b"
    var list: [String] = []
  }

  private let table = GoFlags<Box>([
    .string("text", \.text, "a `name` to use"), .bool("flag", \.flag, "switch"), .bool("on", \.on, "on by default"),
    .int("n", \.number, "how many\nof them"), .repeated("list", \.list, "several"),
  ])

  private func parse(_ words: String...) -> (Box, GoFlags<Box>.Outcome) {
    var box = Box()
    let outcome = table.parse(words, into: &box)
    return (box, outcome)
  }

  @Test func oneOrTwoDashesAndBothValueForms() {
    let (box, outcome) = parse("-text", "x", "--n=0x10", "-flag", "--list", "a,b", "--list=c", "-on=F")
    #expect(outcome == .parsed(given: ["text", "n", "flag", "list", "on"]))
    #expect(box.text == "x" && box.number == 16 && box.flag && !box.on && box.list == ["a,b", "c"])
  }

  @Test func booleansTakeNoSeparateWord() {
    // `false` is the first word that is no flag: parsing stops there, silently.
    let (box, outcome) = parse("-flag", "false", "-n=3")
    #expect(outcome == .parsed(given: ["flag"]))
    #expect(box.flag && box.number == 7)
  }

  @Test(arguments: [["--", "-bogus"], ["word", "-bogus"], ["-"], [""]])
  func stopsAtTheFirstOtherWord(_ words: [String]) {
    var box = Box()
    #expect(table.parse(words, into: &box) == .parsed(given: []))
  }

  @Test func valuesMayLookLikeFlagsOrBeEmpty() {
    #expect(parse("-text", "-flag").0.text == "-flag")
    #expect(parse("-text=").0.text == "")
    #expect(parse("-text=a=b").0.text == "a=b")
    #expect(parse("-text=\u{301}x").0.text == "\u{301}x")
  }

  @Test(arguments: [
    ("-bogus", "flag provided but not defined: -bogus"),
    ("--bogus=1", "flag provided but not defined: -bogus"),
    ("-text", "flag needs an argument: -text"),
    ("-flag=maybe", "invalid boolean value \"maybe\" for -flag: parse error"),
    ("-flag=", "invalid boolean value \"\" for -flag: parse error"),
    ("-n=x", "invalid value \"x\" for flag -n: parse error"),
    ("-n=9223372036854775808", "invalid value \"9223372036854775808\" for flag -n: value out of range"),
    ("---n", "bad flag syntax: ---n"), ("--=x", "bad flag syntax: --=x"), ("-=x", "bad flag syntax: -=x"),
  ])
  func errors(_ word: String, _ text: String) {
    #expect(parse(word).1 == .failure(text))
  }

  @Test(arguments: ["-h", "-help", "--help"])
  func help(_ word: String) { #expect(parse(word).1 == .help) }

  @Test func usageIsLaidOutAsGoDoes() {
    #expect(
      table.usage(program: "x", defaults: Box()) == """
        Usage: x [OPTION]...
          -flag
            \tswitch
          -list value
            \tseveral
          -n int
            \thow many
            \tof them (default 7)
          -on
            \ton by default (default true)
          -text name
            \ta name to use (default "a\\"b")

        """)
  }

  @Test(arguments: ["1", "t", "T", "TRUE", "true", "True"]) func trueWords(_ s: String) { #expect(goBool(s) == true) }
  @Test(arguments: ["0", "f", "F", "FALSE", "false", "False"]) func falseWords(_ s: String) {
    #expect(goBool(s) == false)
  }
  @Test(arguments: ["", "yes", "tRUE", "01", " true"]) func noBoolean(_ s: String) { #expect(goBool(s) == nil) }

  @Test(arguments: [
    ("0", 0), ("-0", 0), ("+5", 5), ("010", 8), ("0o17", 15), ("0O17", 15), ("0b101", 5), ("0XfF", 255),
    ("1_000", 1000), ("0x_1f", 31), ("0_7", 7), ("-9223372036854775808", Int.min), ("9223372036854775807", Int.max),
  ])
  func integers(_ text: String, _ value: Int) { #expect(goInteger(text) == .value(value)) }

  @Test(arguments: ["", "-", "+", "_1", "1_", "1__0", "08", "0x", "0b2", "1e3", "１", " 1", "0x1g", "--1"])
  func noInteger(_ text: String) { #expect(goInteger(text) == .syntax) }

  @Test(arguments: ["9223372036854775808", "-9223372036854775809", "0xffffffffffffffffffff"])
  func integersOutOfRange(_ text: String) { #expect(goInteger(text) == .range) }
}
