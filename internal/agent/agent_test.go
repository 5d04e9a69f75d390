package agent

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

func TestDevice(t *testing.T) {
	for ua, want := range map[string]string{
		"": "Unknown device",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36":                         "Chrome on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0":           "Edge on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15":                   "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36":                         "Chrome on Android",
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1":          "Safari on iPad",
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1":           "Chrome on iPad",
		"Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko":                                                                   "Internet Explorer on Windows",
		"Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)":                                                                        "Internet Explorer on Windows",
		"Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119 Version/11.10":                                                "Opera Mini",
		"okhttp/4.12.0":                              "okhttp",
		"Your account is locked, call 555 0100":      "Unknown device",
		"Call 555 0100 now":                          "Unknown device",
		"https://evil.example/":                      "Unknown device",
		"<script>alert(1)</script>":                  "Unknown device",
		strings.Repeat("x", 512):                     "Unknown device",
		"Ünïcödé/1.0":                                "Unknown device",
		strings.Repeat("(", 512):                     "",
		strings.Repeat(";/", 256):                    "",
		"\xff\xfe":                                   "",
		"Mozilla/5.0 (" + strings.Repeat("x; ", 150): "",
	} {
		got := Device(ua)
		if want != "" && got != want || got == "" {
			t.Errorf("%.60q is %q, want %q", ua, got, want)
		}
	}
	if got := Device("curl/8.5.0"); !strings.Contains(got, "curl") {
		t.Errorf("curl is %q", got)
	}
}

// A User-Agent without versions and models is the same device in a list.
func TestFamily(t *testing.T) {
	for _, ua := range []string{
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0",
		"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 14_1) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Linux; Android 14; SM-G991B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36",
		"Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16",
		"Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko",
		"curl/8.5.0", "junk of somebody 42", "",
	} {
		got := Family(ua)
		if want := Device(ua); Device(got) != want || len(got) > 40 || strings.ContainsAny(got, "123456789") {
			t.Errorf("%q is kept as %q, which is %q, want %q", ua, got, Device(got), want)
		}
	}
}

// TestDeviceOnce wants a User-Agent to be taken apart once, and little to be kept of
// many clients that send different ones.
func TestDeviceOnce(t *testing.T) {
	want := parse(firefox)
	if got := Device(firefox); got != want || want != "Firefox on Linux" {
		t.Errorf("%q, want %q", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { Device(firefox) }); n != 0 {
		t.Errorf("%v allocations of one that is known", n)
	}
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for i := range maxDevices {
				ua := fmt.Sprintf("%s %d/%d", firefox, c, i)
				if got := Device(ua); got != want {
					t.Errorf("%q is %q", ua, got)
				}
			}
		})
	}
	clients.Wait()
	long := firefox + strings.Repeat(" ", maxDeviceText)
	Device(long)
	devices.RLock()
	defer devices.RUnlock()
	if _, kept := devices.of[long]; kept || len(devices.of) > maxDevices {
		t.Errorf("%d kept, at most %d; a long one: %v", len(devices.of), maxDevices, kept)
	}
}

func FuzzDevice(f *testing.F) {
	f.Add("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	f.Add("")
	f.Add("(((;/)")
	f.Fuzz(func(t *testing.T, ua string) {
		if Device(ua) == "" {
			t.Fatal("no device")
		}
	})
}

func BenchmarkDevice(b *testing.B) {
	b.Run("anew", func(b *testing.B) {
		for b.Loop() {
			parse(firefox)
		}
	})
	b.Run("known", func(b *testing.B) {
		for b.Loop() {
			Device(firefox)
		}
	})
}
