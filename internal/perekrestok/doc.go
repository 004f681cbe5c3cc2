// Package perekrestok is the "Perekrestok lunch": a grocer's abandoned-view journey as input for the whole gateway, with
// what has to come of it. It is the second acceptance scenario of the product.
//
// On 25 November 2026, a Wednesday, people look at a product in the app. Whoever has not bought from its category 24
// hours later gets the tag abandoned=category and, at 13:00 on their own clock (that of Moscow when the app does not name
// one), a push with a discount and an image below its text. Half of them, drawn by their ids, are the control and get
// nothing. The goal is to put something into the basket; it ends the journey. On the second day the journey is paused
// from 12:30 to 14:30 in Moscow, across the end of most waits.
//
// [New] makes the days from a seed: the same seed, the same bytes. It is pure: no clock, no files, no network. Each
// [Person] carries a [Want].
//
//	group     people  what they do                                        pushes  goals
//	offer     10,000  drawn to be reminded                                10,000  1,670
//	control   10,000  drawn for the control                                    0     88
//	buyer      2,500  buy from the category within the 24 hours                0
//	basket       300  fill the basket within the 24 hours                      0    300
//	unreached    400  do neither, and have refused pushes                      0
//
// 1,670 of 10,000 is 16.7 %, 88 of 10,000 is 0.88 %: 18.98 times as many, which prints as 19x. Of the offered, 200 buy
// from another category meanwhile, which counts for nothing, 100 send their view twice, 2,500 open the push, and 60
// refuse pushes within a day of it.
package perekrestok
